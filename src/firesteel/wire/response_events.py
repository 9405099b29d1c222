"""The events of a response as structs: what the OpenAPI document and docs/reference/websocket.md describe.

`stream.response_events` writes them without these, since a stream of deltas is the hot path; a test compares.
"""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from firesteel.wire.openai_chat import ContentLogprob
from firesteel.wire.response_object import OutputItem, OutputText, ResponseObject, SteerFault, SteerRef

Lifecycle = Literal[
    "response.created",
    "response.queued",
    "response.in_progress",
    "response.completed",
    "response.incomplete",
    "response.failed",
]


class ResponseEvent(msgspec.Struct, kw_only=True):
    """What all events have: a number that grows by one, and on a WebSocket the lane."""

    sequence_number: int
    stream_id: str | UnsetType = UNSET


class QueuePlace(msgspec.Struct):
    """Where a response waits: how many requests go before it, and about how many seconds that takes."""

    position: int
    estimated_seconds: float


class LifecycleEvent(ResponseEvent, kw_only=True):
    """The response begins, goes on or ends."""

    type: Lifecycle
    response: ResponseObject
    queue: QueuePlace | UnsetType = UNSET


class OutputItemEvent(ResponseEvent, kw_only=True):
    """An item of the output begins, or is complete."""

    type: Literal["response.output_item.added", "response.output_item.done"]
    output_index: int
    item: OutputItem


class ContentPartEvent(ResponseEvent, kw_only=True):
    """A part of a message begins, or is complete."""

    type: Literal["response.content_part.added", "response.content_part.done"]
    item_id: str
    output_index: int
    content_index: int
    part: OutputText


class OutputTextDelta(ResponseEvent, kw_only=True):
    """More text."""

    type: Literal["response.output_text.delta"]
    item_id: str
    output_index: int
    content_index: int
    delta: str
    logprobs: list[ContentLogprob]


class OutputTextDone(ResponseEvent, kw_only=True):
    """The whole text of a part."""

    type: Literal["response.output_text.done"]
    item_id: str
    output_index: int
    content_index: int
    text: str
    logprobs: list[ContentLogprob]


class CallDelta(ResponseEvent, kw_only=True):
    """More of the arguments of a function, or of the text of a custom tool."""

    type: Literal["response.function_call_arguments.delta", "response.custom_tool_call_input.delta"]
    item_id: str
    output_index: int
    delta: str


class ArgumentsDone(ResponseEvent, kw_only=True):
    """The whole arguments."""

    type: Literal["response.function_call_arguments.done"]
    item_id: str
    output_index: int
    name: str
    arguments: str


class InputDone(ResponseEvent, kw_only=True):
    """The whole text."""

    type: Literal["response.custom_tool_call_input.done"]
    item_id: str
    output_index: int
    input: str


class SteerAccepted(ResponseEvent, kw_only=True):
    """The server owns the input; the successor's `response.created` commits it."""

    type: Literal["response.steer.accepted"]
    steer: SteerRef


class SteerPending(ResponseEvent, kw_only=True):
    """The input waits until the client has answered the calls."""

    type: Literal["response.steer.pending"]
    steer: SteerRef
    reason: Literal["waiting_for_required_input"]
    required_input: list[dict[str, Any]]


class SteerFailed(ResponseEvent, kw_only=True):
    """The input is given back."""

    type: Literal["response.steer.failed"]
    steer: SteerRef
    error: SteerFault


EVENTS = (
    LifecycleEvent,
    OutputItemEvent,
    ContentPartEvent,
    OutputTextDelta,
    OutputTextDone,
    CallDelta,
    ArgumentsDone,
    InputDone,
    SteerAccepted,
    SteerPending,
    SteerFailed,
)


class Deleted(msgspec.Struct, kw_only=True):
    """The response to `DELETE /v1/responses/{id}`."""

    id: str
    object: Literal["response"] = "response"
    deleted: bool = True


class ItemPage(msgspec.Struct, kw_only=True):
    """The response to `GET /v1/responses/{id}/input_items`."""

    object: Literal["list"] = "list"
    data: list[dict[str, Any]]
    first_id: str
    last_id: str
    has_more: bool
