"""Engine events of one response → its events on the wire, from `response.created` to the last one."""

import time
from collections.abc import Iterator

import msgspec

from firesteel.errors import ContextTooLong, FiresteelError, Overloaded
from firesteel.stream.response_events import Events, WireEvent
from firesteel.stream.response_output import OutputWriter
from firesteel.stream.tally import Tally
from firesteel.types import Delta, Finish, Guarded, Request, Tokenizer, Usage
from firesteel.visit import Place
from firesteel.wire.response_events import QueuePlace
from firesteel.wire.response_object import (
    IncompleteDetails,
    InputDetails,
    OutputMessage,
    ResponseError,
    ResponseObject,
    ResponseUsage,
    Status,
)
from firesteel.wire.response_tools import ToolBox
from firesteel.wire.tool_calls import CLOSE

KNOWN_FAILURES = (ContextTooLong.code, Overloaded.code)
"""Codes that clients act upon; any other failure is a `server_error` to them."""


class ResponseWriter:
    """Writes the events of one response; `response` is its object as it stands.

    Call `start` when the prompt is known, `write` for text, and `finish` or `fail` once.
    """

    def __init__(
        self, response: ResponseObject, request: Request, tools: ToolBox, events: Events, tokenizer: Tokenizer
    ) -> None:
        self.response = response
        self._request = request
        self._tools = tools
        self._events = events
        self._tokenizer = tokenizer
        self.start(request)

    def start(self, request: Request) -> None:
        """Take what became of the request on its way to the engine."""
        self._request = request
        self._tally = Tally(request)
        ids = self.response.id.removeprefix("resp_")
        single = CLOSE in request.stop
        self._output = OutputWriter(ids, self._tools, self._events, self._tokenizer, self._tally, single=single)

    @property
    def is_in_call(self) -> bool:
        """Whether the model is writing a call at this moment."""
        return self._output.is_in_call

    @property
    def has_calls(self) -> bool:
        """Whether the output holds calls, which the client has to answer."""
        return any(not isinstance(item, OutputMessage) for item in self._output.items)

    def created(self) -> WireEvent:
        """Return the first event."""
        return self._lifecycle("response.created")

    def queued(self, place: Place | None = None) -> list[WireEvent]:
        """Return the first events of a response that waits for its turn, at `place`."""
        self.response.status = "queued"
        queue = {} if place is None else {"queue": QueuePlace(place.num_ahead, round(place.seconds, 3))}
        return [self.created(), self._events.event("response.queued", response=self.response, **queue)]

    def in_progress(self) -> WireEvent:
        """Return the event that says that work has begun."""
        self.response.status = "in_progress"
        return self._lifecycle("response.in_progress")

    def write(self, event: Delta | Guarded) -> Iterator[WireEvent]:
        """Yield the events of more text, or of what the guard says; text that it takes back leaves the output."""
        if isinstance(event, Guarded):
            return self._output.guarded(event)
        return self._output.feed(event.text, event.logprobs)

    def finish(self, finish: Finish, *, cancelled: str = "", keep_partial: bool = True) -> Iterator[WireEvent]:
        """Yield the last events. `cancelled` says what a cancelled response is told to be: interrupted, cancelled."""
        self._output.findings = list(finish.usage.guard.findings) if finish.usage.guard is not None else []
        yield from self._output.finish(finish.reason, keep_partial=keep_partial)
        self._tally.add(0, finish)
        response = self.response
        response.output = self._output.items
        response.completed_at = int(time.time())
        response.usage = usage_of(finish.usage)
        response.firesteel = self._tally.firesteel()
        yield self._last(self._reason(finish, cancelled))

    def _reason(self, finish: Finish, cancelled: str) -> str:
        """Return why the response is not complete; "" when it is."""
        if finish.reason == "length":
            return "max_output_tokens" if self._request.max_tokens != 0 else ""
        if finish.reason == "cancelled":
            return cancelled or "max_output_tokens"
        return finish.reason if finish.reason in ("steered", "content_filter") else ""

    def _last(self, reason: str) -> WireEvent:
        status: Status = "incomplete" if reason else "completed"
        if reason == "cancelled":
            status = "cancelled"
        elif reason:
            self.response.incomplete_details = IncompleteDetails(reason)
        if reason == "interrupted":
            self.response.end_turn = False
        self.response.status = status
        return self._lifecycle("response.incomplete" if reason else "response.completed")

    def fail(self, error: FiresteelError) -> WireEvent:
        """Return the last event of a response that failed."""
        code = error.code if error.code in KNOWN_FAILURES else None
        self.response.status = "failed"
        self.response.error = ResponseError(code=code or "server_error", message=f"{error.message} ({error.code})")
        self.response.output = self._output.items
        return self._lifecycle("response.failed")

    def _lifecycle(self, kind: str) -> WireEvent:
        return self._events.event(kind, response=self.response)


def usage_of(usage: Usage) -> ResponseUsage:
    """Return OpenAI's `usage` of one response."""
    return ResponseUsage(
        input_tokens=usage.num_prompt_tokens,
        input_tokens_details=InputDetails(
            cached_tokens=usage.num_cached_tokens,
            cache_write_tokens=max(0, usage.num_prompt_tokens - usage.num_cached_tokens),
        ),
        output_tokens=usage.num_output_tokens,
        total_tokens=usage.num_prompt_tokens + usage.num_output_tokens,
    )


def successor_of(response: ResponseObject, id: str) -> ResponseObject:
    """Return the response that goes on from `response`, with its settings."""
    return msgspec.structs.replace(
        response,
        id=id,
        created_at=int(time.time()),
        completed_at=None,
        status="in_progress",
        previous_response_id=response.id,
        incomplete_details=None,
        error=None,
        output=[],
        usage=None,
        end_turn=msgspec.UNSET,
        firesteel=msgspec.UNSET,
    )
