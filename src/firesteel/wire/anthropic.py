"""`POST /v1/messages`: the request body, the response and the stream's events.

Spec: https://docs.anthropic.com/en/api/messages (beta types of anthropic-python 2.14.0).
Fields of type `Any` have no effect here: each stands in one of the two tables.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from firesteel.wire.fields import Fates, Refusal
from firesteel.wire.guard import FiresteelBody
from firesteel.wire.openai_common import Firesteel, Limit, StopString, Unit

NOTED: dict[str, str] = {
    "billing_policy": "nothing is billed",
    "cache_control": "the prefix cache is always on",
    "compaction": "the client keeps its history",
    "context_management": "the client keeps its history",
    "diagnostics": "see /metrics",
    "fallback_credit_token": "nothing is billed",
    "fallbacks": "one model is served",
    "inference_geo": "it runs where the server stands",
    "metadata": "no user accounts are kept",
    "thinking": "the models served have no reasoning phase",
    "user_profile_id": "no user accounts are kept",
    "workspace_id": "no user accounts are kept",
    "output_config.effort": "the models served have no reasoning phase",
    "output_config.task_budget": "the models served have no reasoning phase",
    "messages.output_config": "the models served have no reasoning phase",
    "system.cache_control": "the prefix cache is always on",
    "system.citations": "the models served cite nothing",
    "tools.allowed_callers": "tools are run by the client only",
    "tools.cache_control": "the prefix cache is always on",
    "tools.eager_input_streaming": "arguments are always streamed",
    "tools.input_examples": "not shown to the model; put them into the description",
}

REFUSED: dict[str, Refusal] = {
    "container": Refusal("nothing is run on the server; remove the field"),
    "mcp_servers": Refusal("the server calls nobody; let the client connect to them", ([],)),
    "thread": Refusal("no conversation is stored; send the messages"),
}

FATES = Fates(NOTED, REFUSED)


class InnerBlock(msgspec.Struct, kw_only=True):
    """A content block inside another. Which fields count is decided by its type; others describe it for others."""

    type: str
    text: str | None = None
    tool_name: str | None = None
    source: dict[str, Any] | None = None


class Block(InnerBlock, kw_only=True):
    """One content block of a turn."""

    id: str | None = None
    name: str | None = None
    input: dict[str, Any] | None = None
    tool_use_id: str | None = None
    content: str | list[InnerBlock] | None = None
    is_error: bool | None = None


class SystemBlock(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A part of the system text."""

    type: Literal["text"]
    text: str
    cache_control: Any = None
    citations: Any = None


class WireMessage(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One turn. A system message may stand anywhere; `clear_at` says until when it is shown."""

    role: Literal["user", "assistant", "system"]
    content: str | list[Block]
    clear_at: Literal["next_user_message", "never"] | None = None
    output_config: Any = None


class WireTool(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A tool that the client runs. One with `defer_loading` is shown once a `tool_reference` has named it."""

    name: Annotated[str, Meta(min_length=1, max_length=256)]
    input_schema: dict[str, Any]
    type: Literal["custom"] | None = None
    description: str | None = None
    defer_loading: bool | None = None
    strict: bool | None = None
    allowed_callers: Any = None
    cache_control: Any = None
    eager_input_streaming: Any = None
    input_examples: Any = None


class WireToolChoice(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Whether a tool must be called; `name` belongs to the type `tool`."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class OutputFormat(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The JSON schema that the answer follows."""

    type: Literal["json_schema"]
    schema: dict[str, Any]


class OutputConfig(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`output_config`."""

    format: OutputFormat | None = None
    effort: Any = None
    task_budget: Any = None


class CountBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of `POST /v1/messages/count_tokens`."""

    model: Annotated[str, Meta(min_length=1)]
    messages: Annotated[list[WireMessage], Meta(min_length=1)]
    max_tokens: Limit | None = None
    system: str | list[SystemBlock] | None = None
    temperature: Unit | None = None
    top_p: Unit | None = None
    top_k: Annotated[int, Meta(ge=0)] | None = None
    stop_sequences: Annotated[list[StopString], Meta(max_length=16)] | None = None
    stream: bool | None = None
    tools: list[WireTool] | None = None
    tool_choice: WireToolChoice | None = None
    output_config: OutputConfig | None = None
    service_tier: Literal["auto", "standard_only"] | None = None
    speed: Literal["fast", "standard"] | None = None
    firesteel: FiresteelBody | None = None

    billing_policy: Any = None
    cache_control: Any = None
    compaction: Any = None
    container: Any = None
    context_management: Any = None
    diagnostics: Any = None
    fallback_credit_token: Any = None
    fallbacks: Any = None
    inference_geo: Any = None
    mcp_servers: Any = None
    metadata: Any = None
    thinking: Any = None
    thread: Any = None
    user_profile_id: Any = None
    workspace_id: Any = None


class MessagesBody(CountBody, forbid_unknown_fields=True, kw_only=True):
    """The body of `POST /v1/messages`: the same, and how long the answer may be."""

    max_tokens: Limit


class MessagesUsage(msgspec.Struct, kw_only=True):
    """What a message cost. `input_tokens` are those that were computed, the cached ones stand beside them.

    What is always null has no meaning here; strict clients want to see it all the same.
    """

    input_tokens: int
    output_tokens: int
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation: None = None
    inference_geo: None = None
    output_tokens_details: None = None
    server_tool_use: None = None
    service_tier: Literal["standard", "priority"] = "standard"


class TextBlock(msgspec.Struct, tag="text", kw_only=True):
    """Text of the answer."""

    text: str
    citations: None = None


class Caller(msgspec.Struct, frozen=True, tag="direct"):
    """Who calls a tool: the model itself."""


class ToolUseBlock(msgspec.Struct, tag="tool_use", kw_only=True):
    """One call."""

    id: str
    name: str
    input: Any
    caller: Caller = Caller()


AnswerBlock = TextBlock | ToolUseBlock


class AnswerMessage(msgspec.Struct, kw_only=True):
    """The whole response, or its beginning in `message_start`."""

    id: str
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"
    model: str
    content: list[AnswerBlock]
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: None = None
    container: None = None
    usage: MessagesUsage
    firesteel: Firesteel | UnsetType = UNSET


class MessageStart(msgspec.Struct, tag="message_start"):
    """The first event."""

    message: AnswerMessage


class BlockStart(msgspec.Struct, tag="content_block_start"):
    """A block begins, empty."""

    index: int
    content_block: AnswerBlock


class TextDelta(msgspec.Struct, tag="text_delta"):
    """More text."""

    text: str


class InputDelta(msgspec.Struct, tag="input_json_delta"):
    """More of a call's arguments."""

    partial_json: str


class BlockDelta(msgspec.Struct, tag="content_block_delta"):
    """What is added to a block."""

    index: int
    delta: TextDelta | InputDelta


class BlockStop(msgspec.Struct, tag="content_block_stop"):
    """A block ends."""

    index: int


class StopDelta(msgspec.Struct):
    """Why the message ended."""

    stop_reason: str
    stop_sequence: str | None


class MessageDelta(msgspec.Struct, tag="message_delta"):
    """What is known of the message when it ends."""

    delta: StopDelta
    usage: MessagesUsage
    firesteel: Firesteel


class MessageStop(msgspec.Struct, tag="message_stop"):
    """The last event."""


class TokenCount(msgspec.Struct):
    """The response of `POST /v1/messages/count_tokens`."""

    input_tokens: int
