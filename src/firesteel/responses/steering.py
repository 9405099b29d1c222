"""What is steered into a response: its checks, its events, and how it ends when it cannot be committed."""

from collections.abc import Iterable
from uuid import uuid4

import msgspec

from firesteel.errors import FiresteelError, RequestError
from firesteel.request.response_items import Transcript, user_items
from firesteel.stream.response_events import Events, WireEvent
from firesteel.types import Request
from firesteel.wire.openai_responses import Item
from firesteel.wire.response_object import (
    CustomCallItem,
    FunctionCallItem,
    OutputItem,
    SteerFault,
    SteerRef,
    ToolSearchItem,
)

MAX_PENDING_STEERS = 16
BETWEEN = "\n\n"

_STATUS = {"response_not_found": 404, "response_already_completed": 409, "response_not_active": 409}


class SteerRefused(RequestError):
    """Input that cannot be steered in; `code` is one that clients of OpenAI's protocol know."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message, param="input" if code == "invalid_input" else "previous_response_id", code=code)
        self.status = _STATUS.get(code, 400)


class Steer(msgspec.Struct, frozen=True):
    """One accepted submission."""

    id: str
    target: str  # the response that it was sent to
    input: str | list[Item]  # as it was sent
    items: list[Item]
    text: str


def new_steer(target: str, given: str | list[Item]) -> Steer:
    """Return the submission of `given` to the response `target`. Raises SteerRefused for what is no user's message."""
    items = user_items(given)
    for item in items:
        if item.get("type", "message") != "message" or item.get("role") != "user":
            raise SteerRefused("invalid_input", "`input`: only messages of the role 'user' can be steered in")
        if extra := set(item) - {"type", "role", "content", "id", "status"}:
            raise SteerRefused("invalid_input", f"`input`: {sorted(extra)[0]!r} cannot be steered in; remove it")
    try:
        messages = Transcript().extended(items, lambda _: None).messages
    except RequestError as error:
        raise SteerRefused("invalid_input", error.message) from None
    text = BETWEEN.join(message.content for message in messages)
    if not text.strip():
        raise SteerRefused("invalid_input", "`input` is empty; say something")
    return Steer(f"steer_{uuid4().hex}", target, given, items, text)


def require_open(request: Request, num_pending: int, *, is_over: bool) -> None:
    """Raise SteerRefused unless the response to `request` takes one more submission."""
    if request.max_tokens == 0:
        raise SteerRefused("steering_not_supported", "a response that only warms up says nothing to steer")
    if is_over:
        raise SteerRefused("response_already_completed", "the response has ended; send the words as a new turn")
    if num_pending >= MAX_PENDING_STEERS:
        raise SteerRefused("too_many_pending_steers", f"{MAX_PENDING_STEERS} are pending; wait for the successor")


def accepted(steer: Steer, events: Events) -> WireEvent:
    """Return the event that says that the server owns the input now."""
    return events.event("response.steer.accepted", steer=SteerRef(id=steer.id, previous_response_id=steer.target))


def pending(steer: Steer, output: Iterable[OutputItem], events: Events) -> WireEvent:
    """Return the event that says what the client has to answer first."""
    return events.event(
        "response.steer.pending",
        steer=SteerRef(id=steer.id, previous_response_id=steer.target),
        reason="waiting_for_required_input",
        required_input=[stub for item in output if (stub := _stub(item)) is not None],
    )


def _stub(item: OutputItem) -> Item | None:
    if isinstance(item, FunctionCallItem):
        return {"type": "function_call_output", "call_id": item.call_id, "name": item.name}
    if isinstance(item, CustomCallItem):
        return {"type": "custom_tool_call_output", "call_id": item.call_id}
    if isinstance(item, ToolSearchItem):
        return {"type": "tool_search_output", "call_id": item.call_id}
    return None


def failed(steer: Steer, code: str, message: str, events: Events) -> WireEvent:
    """Return the event that gives accepted input back."""
    ref = SteerRef(id=steer.id, previous_response_id=steer.target, input=steer.input)
    return events.event("response.steer.failed", steer=ref, error=SteerFault(code=code, message=message))


def refused(target: str, given: str | list[Item], error: FiresteelError, events: Events) -> WireEvent:
    """Return the event that refuses input before it was accepted."""
    ref = SteerRef(previous_response_id=target, input=given)
    fault = SteerFault(code=error.code or "invalid_input", message=error.message)
    return events.event("response.steer.failed", steer=ref, error=fault)
