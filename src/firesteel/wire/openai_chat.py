"""`POST /v1/chat/completions`: the request body, the response and the stream's chunks.

Spec: https://platform.openai.com/docs/api-reference/chat (types of openai-python 3.54.0).
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from firesteel.wire.chat_tools import HistoryToolCall, Tool, ToolCall, ToolCallDelta, ToolChoice
from firesteel.wire.openai_common import Firesteel, GenerationBody, Limit, WireUsage
from firesteel.wire.response_format import Prediction


class ContentPart(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One part of a message whose content is a list."""

    type: Literal["text", "refusal", "image_url", "input_audio", "file"]
    text: str | None = None
    refusal: str | None = None
    image_url: Any = None
    input_audio: Any = None
    file: Any = None
    cache_control: Any = None
    prompt_cache_breakpoint: Any = None


class ChatMessage(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One message of the history."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[ContentPart] | None = None
    name: str | None = None
    refusal: str | None = None
    tool_calls: list[HistoryToolCall] | None = None
    tool_call_id: str | None = None
    annotations: Any = None
    audio: Any = None
    cache_control: Any = None
    reasoning: Any = None
    reasoning_content: Any = None
    parsed: Any = None
    function_call: Any = None


class ChatBody(GenerationBody, forbid_unknown_fields=True, kw_only=True):
    """The body of `POST /v1/chat/completions`."""

    messages: Annotated[list[ChatMessage], Meta(min_length=1)]
    max_completion_tokens: Limit | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    tools: list[Tool] | None = None
    tool_choice: Literal["auto", "none", "required"] | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    prediction: Prediction | None = None

    reasoning_effort: Any = None
    verbosity: Any = None

    audio: Any = None
    chat_template_kwargs: Any = None
    function_call: Any = None
    functions: Any = None
    modalities: Any = None
    moderation: Any = None
    web_search_options: Any = None


class TopLogprob(msgspec.Struct, kw_only=True):
    """A token that was likely at this place."""

    token: str
    logprob: float
    bytes: list[int]


class ContentLogprob(TopLogprob, kw_only=True):
    """The token that was chosen at this place."""

    top_logprobs: list[TopLogprob]


class ChatLogprobs(msgspec.Struct, kw_only=True):
    """`logprobs` of one choice."""

    content: list[ContentLogprob]
    refusal: None = None


class AssistantMessage(msgspec.Struct, kw_only=True):
    """The answer of one choice."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    annotations: tuple[()] = ()
    tool_calls: list[ToolCall] | UnsetType = UNSET


class ChatChoice(msgspec.Struct, kw_only=True):
    """One of `n` answers."""

    index: int
    message: AssistantMessage
    logprobs: ChatLogprobs | None = None
    finish_reason: str


class ChatCompletion(msgspec.Struct, kw_only=True):
    """The whole response, when it is not streamed."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: WireUsage
    firesteel: Firesteel
    service_tier: str | UnsetType = UNSET


class ChatDelta(msgspec.Struct, kw_only=True):
    """What a chunk adds to the message."""

    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType = UNSET
    tool_calls: list[ToolCallDelta] | UnsetType = UNSET


class ChatChunkChoice(msgspec.Struct, kw_only=True):
    """What a chunk adds to one choice."""

    index: int
    delta: ChatDelta
    logprobs: ChatLogprobs | None = None
    finish_reason: str | None = None


class ChatChunk(msgspec.Struct, kw_only=True):
    """One SSE event of a streamed response. `usage` is null in all but the last, where it was asked for."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChatChunkChoice]
    usage: WireUsage | UnsetType | None = UNSET
    firesteel: Firesteel | UnsetType = UNSET
    service_tier: str | UnsetType = UNSET
