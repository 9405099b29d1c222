"""What the scripted model answers: reads the prompt out of the history and chooses the plan."""

import json
import re
import zlib
from array import array
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np

from firesteel.backend.scripted import endless, vocabulary
from firesteel.backend.scripted.kv import SequenceKV
from firesteel.backend.scripted.plan import Cursor, HashCursor, Plan, PlanCursor
from firesteel.backend.scripted.script import Pace, Rule, Script, pace
from firesteel.backend.scripted.tokenizer import ScriptedTokenizer
from firesteel.backend.scripted.tools import call_text, choose_tool

RAW_TOKENS = 64  # of a history in which no reply was opened, the rules see this many tokens


class Prompt(msgspec.Struct, frozen=True):
    """What the history says that the model is asked for."""

    user_text: str  # the last user turn; the text before the hole; the beginning of a raw prompt
    is_fill: bool = False
    tools: list[dict[str, Any]] = []
    tool_choice: str | None = None
    tool_result: str | None = None  # the last message, where that is a tool's result


class Replies:
    """Chooses what is said. Pure: the same history always gets the same reply."""

    def __init__(self, tokenizer: ScriptedTokenizer, script: Script) -> None:
        self._tokenizer = tokenizer
        self._endless = Plan(tokenizer, "", grow=endless.function)
        self._finite = lru_cache(maxsize=256)(lambda text: Plan(tokenizer, text))
        self._rules = [(re.compile(rule.match), rule, pace(script, rule)) for rule in script.rules]
        self._default = (Rule(), pace(script, None))
        paces = [self._default[1], *(pace for _, _, pace in self._rules)]
        self.is_free = all(pace.is_free for pace in paces)  # no step of any reply takes time or fails

    def begin(self, kv: SequenceKV) -> Cursor:
        """Return a cursor for `kv`, kept in it as long as its tokens cannot change the choice."""
        raw = not kv.markers
        start = 0 if raw else kv.markers[-1] + 1
        prompt = self._read_raw(kv.tokens) if raw else self._read(kv.tokens[:start])
        rule, pace = self._rule(prompt)
        decided = start if not (raw and self._rules) else RAW_TOKENS
        cursor: Cursor
        if rule.mode == "hash":
            cursor = HashCursor(pace, self._tokenizer, start, decided)
        else:
            plan = self._plan(rule, prompt)
            cursor = PlanCursor(plan, pace, self._tokenizer, start, decided, raw=raw)
        if len(kv.tokens) >= decided:
            kv.cursor = cursor
        return cursor

    def pace_so_far(self, kv: SequenceKV) -> Pace:
        """Return the pace at which the prompt in `kv`, not yet complete, is computed."""
        return self._rule(self._read(kv.tokens))[1]

    def _rule(self, prompt: Prompt) -> tuple[Rule, Pace]:
        """Return the first rule found in the user's text of `prompt`, or the script's defaults."""
        last = "user" if prompt.tool_result is None else "tool"
        found = ((rule, pace) for pattern, rule, pace in self._rules if pattern.search(prompt.user_text))
        return next((choice for choice in found if choice[0].when in ("any", last)), self._default)

    def _plan(self, rule: Rule, prompt: Prompt) -> Plan:
        """Return what is said to `prompt` under `rule`."""
        if rule.say is not None:
            return self._finite(rule.say)
        if prompt.is_fill:
            choice = zlib.crc32(prompt.user_text.encode())
            return self._finite(endless.fill(prompt.user_text, choice))
        answered = prompt.tool_result is not None
        function = choose_tool(prompt.tools, prompt.tool_choice, prompt.user_text, answered=answered)
        if function is not None:
            return self._finite(call_text(function))
        if prompt.tool_result is not None:
            return self._finite(f"The tool answered: {prompt.tool_result[:200]}")
        return self._endless

    def _read_raw(self, tokens: "array[int]") -> Prompt:
        """Return a prompt without turns: a control token in it, which may come later, chooses nothing."""
        return Prompt(self._tokenizer.decode(tokens[:RAW_TOKENS]))

    def _read(self, tokens: "array[int]") -> Prompt:
        """Parse the turns of a history that ends where the reply begins, or earlier."""
        controls = np.flatnonzero(np.frombuffer(tokens, np.uint16) < vocabulary.NUM_CONTROLS).tolist()
        if not controls:
            return self._read_raw(tokens)
        turns = {tokens[at]: (at + 1, end) for at, end in zip(controls, [*controls[1:], None], strict=True)}

        def text(control: int) -> str | None:
            """Return the last text that stands after `control`."""
            if control not in turns:
                return None
            first, end = turns[control]
            return self._tokenizer.decode(tokens[first:end])

        if tokens[controls[-1]] == vocabulary.FIM_MIDDLE:
            return Prompt(text(vocabulary.FIM_PREFIX) or "", is_fill=True)
        last_turn = max(turns.get(control, (-1,))[0] for control in (vocabulary.USER, vocabulary.TOOL))
        answered = turns.get(vocabulary.TOOL, (-2,))[0] == last_turn
        return Prompt(
            text(vocabulary.USER) or "",
            tools=_tools(text(vocabulary.TOOLS)),
            tool_choice=text(vocabulary.TOOL_CHOICE),
            tool_result=text(vocabulary.TOOL) if answered else None,
        )


def _tools(text: str | None) -> list[dict[str, Any]]:
    """Return the tools offered in `text`; what is no list of objects offers nothing."""
    try:
        tools = json.loads(text or "[]")
    except ValueError:
        return []
    return [tool for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
