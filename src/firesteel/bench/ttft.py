"""A warm follow-up: history that was computed before, a short new message, the time to the first token.

Only the new tokens cannot have been computed, so the floor is the bare cost of computing just those on top of
that history. It is measured right beside each answer, because the machine's speed drifts. A value is the
time to the first token divided by that floor.
"""

from statistics import median
from typing import Any

import msgspec

from firesteel.bench import bare, sides
from firesteel.bench.bare import Bare
from firesteel.bench.client import Answer
from firesteel.bench.conversation import Conversation, follow_up, text_of
from firesteel.bench.options import Options
from firesteel.bench.progress import Step, steps
from firesteel.bench.report import Measurement
from firesteel.bench.roofline import Ceiling
from firesteel.bench.sides import Side
from firesteel.bench.subject import Subject

HISTORIES = (1_024, 4_096, 8_192)
ANSWER_TOKENS = 8
TARGET = "≤ 1.1 × bare"


class Turn(msgspec.Struct, frozen=True):
    """One follow-up. `num_known`: tokens of its prompt that were computed before; times in seconds."""

    answer: Answer
    num_known: int
    bare_seconds: float

    @property
    def ratio(self) -> float:
        """The time to the first token by what computing the new tokens alone would take."""
        return self.answer.first / self.bare_seconds


class Talk:
    """The conversation of one side at one history; its answers come back in the next request."""

    def __init__(self, side: Side, code: str) -> None:
        self.side = side
        self.turns: list[Turn] = []
        self._conversation = Conversation.about(code)
        self._last: Answer | None = None

    def begin(self) -> Answer:
        """Have the history computed."""
        return self._ask()

    def follow_up(self, number: int, floor: Bare) -> Turn:
        """Ask one more question, then measure its floor."""
        assert self._last is not None, "a follow-up without a beginning"
        num_known = known_tokens(self._last)
        self._conversation.user(follow_up(number))
        answer = self._ask()
        floor.fill(num_known)
        turn = Turn(answer, num_known, floor.seconds(answer.num_prompt_tokens - num_known))
        self.turns.append(turn)
        return turn

    def _ask(self) -> Answer:
        self._last = answer = self.side.ask(self._conversation, ANSWER_TOKENS)
        self._conversation.assistant(answer.text)
        return answer


def known_tokens(last: Answer) -> int:
    """Return the tokens that are computed after `last`: prompt and answer, but for the last token chosen."""
    return last.num_prompt_tokens + last.num_tokens - 1


def measure(options: Options, subject: Subject) -> Measurement:
    """Measure follow-ups at each history. Raises `ConfigError` or `EngineFailure`."""
    histories = options.tokens or HISTORIES
    context = sides.context_for(max(histories))
    total = len(histories) * (1 + options.with_peer) * (1 + options.pairs)
    with (
        steps(total) as step,
        bare.opened(subject, context) as floor,
        sides.both(options, subject, ["--context", str(context)], {"n_ctx": context}) as servers,
    ):
        found = {history: at_history(subject, servers, floor, history, options.pairs, step) for history in histories}
    return summary(found)


def at_history(
    subject: Subject, servers: list[Side], floor: Bare, history: int, pairs: int, step: Step
) -> dict[str, list[Turn]]:
    """Return the turns of each side. Each history shows other code, so that none finds another's cache."""
    code = text_of(subject.tokenizer, history, skip=history)
    talks = {side.name: Talk(side, code) for side in servers}
    for side in servers:
        step(f"{side.name}: computing {history:,} tokens of history")
        talks[side.name].begin()
    for number, side in sides.in_turns(pairs, servers):
        step(f"{side.name}: follow-up {number} at {history:,} tokens")
        talks[side.name].follow_up(number, floor)
    return {name: talk.turns for name, talk in talks.items()}


def summary(found: dict[int, dict[str, list[Turn]]]) -> Measurement:
    """Return the ratios of all histories, and a row for each history and side."""
    rows = [row(history, name, turns) for history, talks in found.items() for name, turns in talks.items()]
    return Measurement(
        workload="warm follow-up",
        unit="× bare prefill of the new tokens",
        ours=[turn.ratio for talks in found.values() for turn in talks["ours"]],
        theirs=[turn.ratio for talks in found.values() for turn in talks.get("peer", [])],
        ceiling=Ceiling(1.0, "the new tokens' rows alone at that history, in this process, right after each answer"),
        details={"target": TARGET, "by_history": rows},
    )


def row(history: int, name: str, turns: list[Turn]) -> dict[str, Any]:
    """Return the medians of one side at one history."""
    return {
        "history": history,
        "server": name,
        "ttft_ms": median(turn.answer.first for turn in turns) * 1e3,
        "bare_ms": median(turn.bare_seconds for turn in turns) * 1e3,
        "ratio": median(turn.ratio for turn in turns),
        "new": median(turn.answer.num_prompt_tokens - turn.num_known for turn in turns),
        "recomputed": median(turn.num_known - turn.answer.num_cached_tokens for turn in turns),
    }
