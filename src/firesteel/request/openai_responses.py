"""`POST /v1/responses` and `response.create` → `Request`, and what its response repeats of it."""

from collections.abc import Mapping
from typing import Any

import msgspec

from firesteel.errors import RequestError
from firesteel.request.affinity import BILLING_NOTE, NO_HEADERS, session_of, without_billing
from firesteel.request.common import tier_of
from firesteel.request.constraint import check_grammar, constraint_of_schema, json_object_grammar
from firesteel.request.guard import guard_of
from firesteel.request.response_grammar import answer_grammar
from firesteel.request.response_items import Transcript, user_items
from firesteel.request.response_tools import box, tools_of
from firesteel.types import ChatPrompt, Message, Request, Sampling
from firesteel.wire import responses_fields, tool_calls
from firesteel.wire.decode import convert
from firesteel.wire.openai_responses import CreateEvent, Item, PromptBody, ResponsesBody, TextFormat
from firesteel.wire.response_tools import AllowedTools, NamedTool, Tool, ToolBox

LOGPROBS = "message.output_text.logprobs"
INCLUDABLE = ("reasoning.encrypted_content", LOGPROBS)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request as parsed: for the engine, for the conversation, and for reading its calls."""

    body: ResponsesBody
    request: Request
    items: tuple[Item, ...]  # what the request adds to the conversation
    transcript: Transcript  # the conversation, with those
    offered: ToolBox  # tools that may be called


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """The prompt of a request: what it adds, all that was said, and what may be called and must be written."""

    prompt: ChatPrompt
    items: tuple[Item, ...]
    transcript: Transcript
    offered: ToolBox
    constraint: str | None
    single: bool
    noted: tuple[str, ...]


def parse(
    body: ResponsesBody,
    before: Transcript,
    *,
    request_id: str,
    defaults: Sampling,
    headers: Mapping[str, str] = NO_HEADERS,
    queued: tuple[Item, ...] = (),
) -> Asked:
    """Return the request that `body` makes after `before`; `queued` is what was steered in ahead of its input.

    Raises `RequestError` that names the field and the remedy for whatever cannot be honoured.
    """
    turn = turn_of(body, before, queued)
    prewarm = body.generate is False or bool(body.prompt_cache_options and body.prompt_cache_options.prewarm)
    request = Request(
        id=request_id,
        kind="chat",
        model=body.model,
        prompts=(turn.prompt,),
        sampling=_sampling(body, defaults),
        max_tokens=0 if prewarm else body.max_output_tokens,
        stop=(tool_calls.CLOSE,) if turn.single else (),
        stream=bool(body.stream) or isinstance(body, CreateEvent),
        session=session_of(body.prompt_cache_key, headers),
        guard=guard_of(body.firesteel, headers),
        truncates=body.truncation == "auto",
        constraint=None if prewarm else turn.constraint,
        tier=tier_of(body),
        noted=turn.noted,
    )
    return Asked(body=body, request=request, items=turn.items, transcript=turn.transcript, offered=turn.offered)


def turn_of(body: PromptBody, before: Transcript, queued: tuple[Item, ...] = ()) -> Turn:
    """Return the prompt that `body` makes after `before`; see `parse`."""
    noted = dict.fromkeys(responses_fields.examine(body))
    _check_include(body, noted)

    def note(path: str) -> None:
        noted[path] = None

    items = [*queued, *user_items(body.input if body.input is not None else [])]
    transcript = before.extended(items, note)
    tools = (*tools_of(body.tools or [], "tools", note), *transcript.tools)
    offered, choice = _choice(body.tool_choice, box(tools))
    messages, is_billed = _with_instructions(body.instructions, transcript.messages)
    if is_billed:
        note(BILLING_NOTE)
    single = bool(offered) and (choice in offered or body.parallel_tool_calls is False) and choice != "none"
    constraint = _constraint(body, offered, choice, single=single)
    prompt = ChatPrompt(
        messages=messages,
        tools=tuple(tool.shown for tool in offered.values()),
        tool_choice=choice if offered else "auto",
    )
    return Turn(
        prompt=prompt,
        items=tuple(items),
        transcript=transcript,
        offered=offered,
        constraint=constraint,
        single=single,
        noted=tuple(noted),
    )


def _check_include(body: PromptBody, noted: dict[str, None]) -> None:
    for name in getattr(body, "include", None) or ():
        if name not in INCLUDABLE:
            message = f"`include`: {name!r} cannot be added here; send {' or '.join(map(repr, INCLUDABLE))}, or nothing"
            raise RequestError(message, param="include")
        if name != LOGPROBS:
            noted.setdefault("include")


def _with_instructions(instructions: str | None, messages: tuple[Message, ...]) -> tuple[tuple[Message, ...], bool]:
    """Put the instructions first, without a billing line before them."""
    if not instructions:
        first = messages[0] if messages else None
        if first is None or first.role != "system":
            return messages, False
        content, is_billed = without_billing(first.content)
        return (msgspec.structs.replace(first, content=content), *messages[1:]), is_billed
    content, is_billed = without_billing(instructions)
    return (Message(role="system", content=content), *messages), is_billed


def _choice(choice: str | Item | None, tools: ToolBox) -> tuple[ToolBox, str]:
    """Return the tools on offer, and auto, required or the name of the one that must be called."""
    if choice is None or choice == "auto":
        return tools, "auto"
    if choice == "none":
        return {}, "none"
    if choice == "required":
        if not tools:
            raise RequestError("`tool_choice`: 'required' needs at least one tool; send `tools`", param="tool_choice")
        return tools, "required"
    if isinstance(choice, str):
        message = f"`tool_choice`: {choice!r} is no choice; send 'auto', 'none', 'required' or an object"
        raise RequestError(message, param="tool_choice")
    if choice.get("type") == "allowed_tools":
        allowed = convert(choice, AllowedTools, "tool_choice")
        return _allowed(allowed, tools), allowed.mode
    named = convert(choice, NamedTool, "tool_choice")
    return tools, _named(named.name, named.namespace, tools).name


def _allowed(allowed: AllowedTools, tools: ToolBox) -> ToolBox:
    kept = [_named(str(tool.get("name")), tool.get("namespace"), tools) for tool in allowed.tools if "name" in tool]
    if allowed.mode == "required" and not kept:
        raise RequestError("`tool_choice.tools` is empty; name at least one tool", param="tool_choice.tools")
    return {tool.name: tool for tool in kept}


def _named(name: str, namespace: str | None, tools: ToolBox) -> Tool:
    for tool in tools.values():
        if tool.own_name == name and namespace in (None, tool.namespace):
            return tool
    message = f"`tool_choice`: there is no tool {name!r}; name one of `tools`"
    raise RequestError(message, param="tool_choice")


def _constraint(body: PromptBody, offered: ToolBox, choice: str, *, single: bool) -> str | None:
    text = _format_grammar(body.text.format if body.text else None)
    if not offered:
        return text
    return answer_grammar(list(offered.values()), choice=choice, text=text, single=single)


def _format_grammar(form: TextFormat | None) -> str | None:
    if form is None or form.type == "text":
        return None
    if form.type == "json_object":
        return json_object_grammar("text.format")
    needed = ("schema",) if form.type == "json_schema" else ("syntax", "definition")
    for name in needed:
        if getattr(form, name) is None:
            path = f"text.format.{name}"
            raise RequestError(f"`{path}` is missing; send it", param=path, code="missing_required_parameter")
    if form.schema is not None:
        return constraint_of_schema(form.schema, "text.format.schema")
    return check_grammar(str(form.syntax), str(form.definition), "text.format.definition")


def _sampling(body: ResponsesBody, defaults: Sampling) -> Sampling:
    given: dict[str, Any] = {
        name: getattr(body, name) for name in ("temperature", "top_p") if getattr(body, name) is not None
    }
    wants_logprobs = bool(body.top_logprobs) or LOGPROBS in (body.include or ())
    num_logprobs = (body.top_logprobs or 0) if wants_logprobs else None
    return msgspec.structs.replace(defaults, num_logprobs=num_logprobs, **given)
