"""The response object of `/v1/responses`, the items of its output, and its events, as we write them.

Every field of the object is there, null where it says nothing: strict clients miss those that are not.
"""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from firesteel.wire.openai_chat import ContentLogprob
from firesteel.wire.openai_common import Firesteel

Status = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]
ItemStatus = Literal["in_progress", "completed", "incomplete"]
Phase = Literal["commentary", "final_answer"]


class Citation(msgspec.Struct, kw_only=True):
    """A weakness that the guard found in the text, in the one form of annotation that every client knows."""

    type: Literal["url_citation"] = "url_citation"
    start_index: int
    end_index: int
    title: str
    url: str


class OutputText(msgspec.Struct, kw_only=True):
    """The one part of a message that we write."""

    type: Literal["output_text"] = "output_text"
    text: str
    annotations: list[Citation] = []
    logprobs: list[ContentLogprob] = []


class OutputMessage(msgspec.Struct, kw_only=True, tag_field="type", tag="message"):
    """Text of the answer. `phase`: whether a call follows it, once that is known."""

    id: str
    role: Literal["assistant"] = "assistant"
    status: ItemStatus
    content: list[OutputText]
    phase: Phase | UnsetType = UNSET


class FunctionCallItem(msgspec.Struct, kw_only=True, tag_field="type", tag="function_call"):
    """A call of a function; `arguments` is JSON text."""

    id: str
    call_id: str
    name: str
    namespace: str | UnsetType = UNSET
    arguments: str
    status: ItemStatus


class CustomCallItem(msgspec.Struct, kw_only=True, tag_field="type", tag="custom_tool_call"):
    """A call of a custom tool with plain text."""

    id: str
    call_id: str
    name: str
    namespace: str | UnsetType = UNSET
    input: str
    status: ItemStatus


class ToolSearchItem(msgspec.Struct, kw_only=True, tag_field="type", tag="tool_search_call"):
    """A search for tools, which the client runs."""

    id: str
    call_id: str
    execution: Literal["client"] = "client"
    arguments: Any
    status: ItemStatus


OutputItem = OutputMessage | FunctionCallItem | CustomCallItem | ToolSearchItem


class InputDetails(msgspec.Struct, kw_only=True):
    """Of the prompt's tokens, how many were not computed again, and how many were."""

    cached_tokens: int
    cache_write_tokens: int


class OutputDetails(msgspec.Struct, kw_only=True):
    """Kinds of output tokens."""

    reasoning_tokens: int = 0


class ResponseUsage(msgspec.Struct, kw_only=True):
    """What a response cost."""

    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails = msgspec.field(default_factory=OutputDetails)
    total_tokens: int


class ResponseError(msgspec.Struct, kw_only=True):
    """Why a response failed."""

    code: str
    message: str


class IncompleteDetails(msgspec.Struct):
    """Why a response is not complete: max_output_tokens, steered or interrupted."""

    reason: str


class ResponseObject(msgspec.Struct, kw_only=True):
    """A response. What it repeats of the request is encoded once, in `Raw` fields."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    completed_at: int | None = None
    status: Status = "in_progress"
    background: bool = False
    error: ResponseError | None = None
    incomplete_details: IncompleteDetails | None = None
    instructions: str | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    metadata: dict[str, str] = {}
    model: str
    output: list[OutputItem] = []
    parallel_tool_calls: bool = True
    previous_response_id: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    reasoning: msgspec.Raw
    safety_identifier: str | None = None
    service_tier: str = "default"
    store: bool = True
    temperature: float
    top_p: float
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    top_logprobs: int = 0
    text: msgspec.Raw
    tool_choice: msgspec.Raw
    tools: msgspec.Raw
    truncation: str = "disabled"
    usage: ResponseUsage | None = None
    user: str | None = None
    end_turn: bool | UnsetType = UNSET
    firesteel: Firesteel | UnsetType = UNSET


class InputTokens(msgspec.Struct, kw_only=True):
    """The response to `POST /v1/responses/input_tokens`."""

    object: Literal["response.input_tokens"] = "response.input_tokens"
    input_tokens: int


class Compaction(msgspec.Struct, kw_only=True):
    """The response to `POST /v1/responses/compact`: the user's messages and what became of all else."""

    id: str
    object: Literal["response.compaction"] = "response.compaction"
    created_at: int
    output: list[dict[str, Any]]
    usage: ResponseUsage
    firesteel: Firesteel


class SteerRef(msgspec.Struct, kw_only=True):
    """A steering submission."""

    id: str | UnsetType = UNSET
    previous_response_id: str
    input: Any = UNSET


class SteerFault(msgspec.Struct, kw_only=True):
    """Why steering input could not be committed."""

    type: Literal["invalid_request_error"] = "invalid_request_error"
    code: str
    message: str
