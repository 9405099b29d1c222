"""`POST /v1/messages` → `Request`."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from firesteel.errors import RequestError
from firesteel.request.affinity import BILLING_NOTE, NO_HEADERS, session_of, without_billing
from firesteel.request.anthropic_content import left_out, messages_of, referenced_tools
from firesteel.request.constraint import constraint_of_schema
from firesteel.request.guard import guard_of
from firesteel.request.tool_grammar import Tooling, tooling_of
from firesteel.types import ChatPrompt, Message, Request, Sampling
from firesteel.wire import fields, tool_calls
from firesteel.wire.anthropic import FATES, CountBody, MessagesBody, WireTool
from firesteel.wire.decode import decode

BodyT = TypeVar("BodyT", bound=CountBody)
BETA_HEADER = "anthropic-beta"
_CHOICES = {"auto": "auto", "none": "none", "any": "required"}


def parse(body: bytes, *, request_id: str, defaults: Sampling, headers: Mapping[str, str] = NO_HEADERS) -> Request:
    """Return the request that `body` makes; `defaults` are the model's own sampling settings.

    Fields that are not known are named in `noted` where the client says (by the header `anthropic-beta`) that
    it uses betas, of which there is a new one every few weeks. Raises `RequestError` that names the field and
    the remedy for whatever cannot be honoured.
    """
    return _request(*_decoded(body, headers, MessagesBody), request_id, defaults, headers)


def parse_count(
    body: bytes, *, request_id: str, defaults: Sampling, headers: Mapping[str, str] = NO_HEADERS
) -> Request:
    """Return the request whose prompt tokens are to be counted; `max_tokens` may be missing."""
    wire, unknown = _decoded(body, headers, CountBody)
    return _request(msgspec.structs.replace(wire, max_tokens=0), unknown, request_id, defaults, headers)


def _decoded(body: bytes, headers: Mapping[str, str], kind: type[BodyT]) -> tuple[BodyT, tuple[str, ...]]:
    """Return the body and the names of its unknown fields."""
    if not headers.get(BETA_HEADER):
        return decode(body, kind), ()
    try:
        raw = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return decode(body, kind), ()
    unknown = tuple(name for name in raw if name not in kind.__struct_fields__)
    known = {name: value for name, value in raw.items() if name not in unknown}
    return decode(msgspec.json.encode(known) if unknown else body, kind), unknown


def _request(
    wire: CountBody, unknown: tuple[str, ...], request_id: str, defaults: Sampling, headers: Mapping[str, str]
) -> Request:
    system, is_billed = _system(wire)
    prompt = ChatPrompt(messages=system + messages_of(wire.messages), tools=_tools(wire), tool_choice=_choice(wire))
    single = bool(wire.tool_choice and wire.tool_choice.disable_parallel_tool_use)
    tooling = _tooling(wire, prompt, single)
    return Request(
        id=request_id,
        kind="messages",
        model=wire.model,
        prompts=(prompt,),
        sampling=_sampling(wire, defaults),
        max_tokens=wire.max_tokens,
        stop=tuple(wire.stop_sequences or ()) + (tool_calls.CLOSE,) * (single and prompt.tool_choice == "auto"),
        stream=bool(wire.stream),
        session=session_of(None, headers),
        guard=guard_of(wire.firesteel, headers),
        constraint=tooling.constraint,
        tier="priority" if wire.speed == "fast" else None,
        noted=(
            *fields.examine(wire, FATES),
            *left_out(wire.messages),
            *unknown,
            *tooling.noted,
            *(BILLING_NOTE,) * is_billed,
        ),
    )


def _system(wire: CountBody) -> tuple[tuple[Message, ...], bool]:
    """Return the system message, if there is any text for it, and whether a billing line was dropped."""
    blocks = [wire.system] if isinstance(wire.system, str) else [block.text for block in wire.system or ()]
    is_billed = False
    if blocks:
        blocks[0], is_billed = without_billing(blocks[0])
    text = "\n\n".join(filter(None, blocks))
    return (Message(role="system", content=text),) * bool(text), is_billed


def _sampling(wire: CountBody, defaults: Sampling) -> Sampling:
    given = {"temperature": wire.temperature, "top_p": wire.top_p or None, "top_k": wire.top_k}
    return msgspec.structs.replace(defaults, **{name: value for name, value in given.items() if value is not None})


def _tools(wire: CountBody) -> tuple[dict[str, Any], ...]:
    """Return the tools that are shown: a deferred one when the conversation refers to it."""
    tools = wire.tools or []
    names = [tool.name for tool in tools]
    for i, name in enumerate(names):
        if name in names[:i] or name in ("auto", "none", "required") or not name.isprintable():
            path = f"tools[{i}].name"
            raise RequestError(f"`{path}`: a tool cannot be called {name!r} here; rename it", param=path)
    referenced = referenced_tools(wire.messages)
    return tuple(_tool(tool) for tool in tools if not tool.defer_loading or tool.name in referenced)


def _tool(tool: WireTool) -> dict[str, Any]:
    described = {} if tool.description is None else {"description": tool.description}
    return {"type": "function", "function": {"name": tool.name, **described, "parameters": tool.input_schema}}


def _choice(wire: CountBody) -> str:
    choice = wire.tool_choice
    if choice is None:
        return "auto"
    if choice.type != "tool":
        if choice.type == "any" and not wire.tools:
            raise RequestError("`tool_choice`: 'any' needs at least one tool; send `tools`", param="tool_choice")
        return _CHOICES[choice.type]
    if choice.name not in [tool.name for tool in wire.tools or ()]:
        message = f"`tool_choice.name`: there is no tool {choice.name!r}; name one of `tools`"
        raise RequestError(message, param="tool_choice.name")
    assert choice.name is not None
    return choice.name


def _tooling(wire: CountBody, prompt: ChatPrompt, single: bool) -> Tooling:
    wanted = wire.output_config.format if wire.output_config else None
    answer = constraint_of_schema(wanted.schema, "output_config.format.schema") if wanted else None
    strict = [tool.name for tool in wire.tools or () if tool.strict]
    return tooling_of(prompt, strict=strict, answer=answer, single=single)
