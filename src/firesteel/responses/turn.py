"""One request for a response from its first event to its last, and the responses that steering makes of it."""

import asyncio
from typing import TYPE_CHECKING

import msgspec

from firesteel.call import Call
from firesteel.errors import FiresteelError, RequestError
from firesteel.pipeline import WAITING_SECONDS
from firesteel.request.openai_responses import Asked
from firesteel.responses.echo import new_id, response_of
from firesteel.responses.memory import NO_USAGE, Origin, Recent
from firesteel.responses.steering import Steer, accepted, failed, pending, require_open
from firesteel.responses.transport import Outbox, Stopped, Transport
from firesteel.stream.openai_responses import ResponseWriter, successor_of
from firesteel.stream.response import taken_back
from firesteel.stream.response_events import Events, WireEvent
from firesteel.types import Delta, Event, Failure, Finish, Guarded, Progress, Request, Rewind
from firesteel.visit import Place
from firesteel.wire.errors import error_of
from firesteel.wire.response_object import ResponseObject

if TYPE_CHECKING:
    from firesteel.responses.service import Responses


class Turn:
    """Runs one request. `steer` and `stop` may be called meanwhile, on the same event loop."""

    def __init__(
        self, responses: "Responses", asked: Asked, transport: Transport, origin: Origin, events: Events
    ) -> None:
        self.scope, self.events = origin.scope, events
        self._responses, self._pipeline = responses, responses.pipeline
        self._asked, self._origin = asked, origin
        self._transport, self._out = transport, Outbox(transport)
        self._writer = self._new_writer(response_of(asked, self._pipeline.model_id))
        self._known = origin.known  # what the request goes on from
        self._call: Call | None = None
        self._running = ""  # the sequence that writes the response
        self._successor = ""  # the sequence that is to go on from it
        self._abandoned: set[str] = set()
        self._steers: list[Steer] = []  # accepted; not given to the engine yet
        self._steering: list[Steer] = []  # what the successor begins with
        self._refusal: Failure | None = None  # why there can be no successor
        self._next: Asked | None = None  # what goes on as a request of its own
        self._has_entered = self._is_open = self._is_over = self._is_cut = False
        self._stop_reason, self._keeps_partial = "", True
        self._progress = Progress("", 0, 0)
        self.status = 200  # of the whole, as HTTP would say it
        self.ended = asyncio.Event()
        self.ids = [self.response.id]  # of the responses, in their order

    @property
    def response(self) -> ResponseObject:
        """The response as it stands."""
        return self._writer.response

    def _new_writer(self, response: ResponseObject) -> ResponseWriter:
        return ResponseWriter(response, self._asked.request, self._asked.offered, self.events, self._pipeline.tokenizer)

    async def enter(self) -> None:
        """Come in before `run`, which else does it. Raises what the key may not ask for."""
        if not self._has_entered:
            visit = self._transport.visit
            await self._pipeline.enter(self._asked.request, self._origin.num_bytes, visit, self._known.num_tokens)
            self._has_entered = True

    async def run(self) -> None:
        """Answer. Raises what cannot be honoured while nothing was sent; later failures are events."""
        self._responses.active[self.response.id] = self
        try:
            asked: Asked | None = self._asked
            while asked is not None:
                self._asked, self._next = asked, None
                await self._run_once(asked.request)
                asked = self._next
        except Stopped:
            await self._out.send([*self._opening(), *self._finish(Finish("", "cancelled", NO_USAGE))])
        except FiresteelError as error:
            # The template may take no conversation that has not begun; then a warm-up has nothing to compute.
            if not self._out.has_sent and self._asked.request.max_tokens == 0 and error.param == "messages":
                return await self._out.send([*self._opening(), *self._finish(Finish("", "length", NO_USAGE))])
            if not self._out.has_sent:
                self.status = error.status
                raise
            await self.fail(error)
        finally:
            self._is_over = True
            self._responses.active.pop(self.response.id, None)
            self.ended.set()

    async def _run_once(self, request: Request) -> None:
        if self._stop_reason:  # between two requests
            raise Stopped
        await self.enter()
        known = self._responses.exact(self._asked, self.scope, self._origin.connection)
        async with self._pipeline.run(
            request, self._origin.num_bytes, self._wait, scope=self.scope, known=known, visit=self._transport.visit
        ) as call:
            self._call, self._running = call, call.running
            if self._stop_reason:  # while it waited or was rendered
                call.stop()
            self._progress = Progress("", 0, call.num_prompt_tokens)
            self._writer.start(call.request)
            if self._transport.is_eager:
                await self._out.send(self._opening())
            self._dispatch()
            while not call.is_complete:
                await self._step(await call.take(WAITING_SECONDS))
        self._call = None

    async def _wait(self, _: Request, place: Place) -> None:
        """Show that the request is queued; end it there when it was stopped."""
        if self._stop_reason:
            raise Stopped
        if not self._is_open:
            await self.queue(place)
        await self._out.progress(self.response.id, place, self.events)

    async def queue(self, place: Place | None = None) -> None:
        """Say that the response waits for its turn; from here on it can be found."""
        self._responses.active[self.response.id] = self
        self._is_open = True
        await self._out.send(self._writer.queued(place))

    def _opening(self) -> list[WireEvent]:
        """Return the first events that were not sent yet."""
        if self._is_open:
            return [self._writer.in_progress()] if self.response.status == "queued" else []
        self._is_open = True
        return [self._writer.created(), self._writer.in_progress()]

    async def _step(self, events: list[tuple[int, Event]]) -> None:
        failure = next((event for _, event in events if isinstance(event, Failure)), None)
        if failure is not None and not self._out.has_sent:
            raise error_of(failure)
        out, progressed = self._opening(), not events
        for _, event in events:
            self._transport.observe(event)
            progressed = progressed or isinstance(event, Progress)
            out += self._read(event)
        await self._out.send(out)
        if progressed:
            await self._out.progress(self.response.id, self._progress, self.events)
        self._dispatch()

    def _read(self, event: Event) -> list[WireEvent]:
        """Return what `event` of the engine adds."""
        if event.id in self._abandoned:
            return []
        if isinstance(event, Failure):
            return self._read_failure(event)
        if isinstance(event, Rewind):
            return self._fail(taken_back())
        out = self._succeed() if event.id == self._successor and self._is_over else []
        if isinstance(event, Delta | Guarded):
            return [*out, *self._writer.write(event)]
        if isinstance(event, Finish):
            return [*out, *self._finish(event)]
        self._progress = event
        return out

    def _read_failure(self, failure: Failure) -> list[WireEvent]:
        if failure.id != self._successor:
            return self._fail(error_of(failure))
        self._successor = ""
        if not self._is_over:  # the predecessor's own end comes next
            self._refusal = failure
            return []
        if failure.code == "not_running":
            self._go_on(self._steering)
            return []
        return self._give_back("successor_creation_failed", failure.message)

    def _finish(self, finish: Finish) -> list[WireEvent]:
        """Return the last events of the response, and the first ones of what succeeds it."""
        if self._is_cut and finish.reason == "cancelled" and not self._stop_reason:
            finish = msgspec.structs.replace(finish, reason="steered")
        out = [*self._writer.finish(finish, cancelled=self._stop_reason, keep_partial=self._keeps_partial)]
        self._is_over = True
        tokens = self._call.history if self._call is not None and finish.reason == "stop" else []
        self._known = self._responses.keep(self.response, self._asked, self.scope, self._origin.connection, tokens)
        return out + self._after(finish)

    def _after(self, finish: Finish) -> list[WireEvent]:
        if not (self._steers or self._steering):
            return []
        if self._stop_reason:
            return self._give_back("response_not_active", "the response was ended")
        if self._writer.has_calls and finish.reason != "steered":
            return self._leave_pending()
        if self._refusal is not None:
            return self._give_back("successor_creation_failed", self._refusal.message)
        if not self._successor:
            self._go_on([*self._steering, *self._steers])
        elif finish.reason == "steered":
            return self._succeed()
        return []  # the first event of the successor says whether there is one

    def _leave_pending(self) -> list[WireEvent]:
        """Keep what was steered in until the client has answered the calls."""
        steers = self._take_steers()
        self._responses.leave_pending(self.scope, self.response.id, [item for s in steers for item in s.items])
        return [pending(steer, self.response.output, self.events) for steer in steers]

    def _take_steers(self) -> list[Steer]:
        """Return all that was steered in and is not committed; what should have succeeded is dropped."""
        if self._successor and self._call is not None:
            self._abandoned.add(self._successor)
            self._call.stop(self._successor)
            self._successor = ""
        steers = [*self._steering, *self._steers]
        self._steering, self._steers = [], []
        return steers

    def _give_back(self, code: str, message: str) -> list[WireEvent]:
        return [failed(steer, code, message, self.events) for steer in self._take_steers()]

    def _fail(self, error: FiresteelError) -> list[WireEvent]:
        self._is_over, self.status = True, error.status
        event = self._writer.fail(error)
        self._responses.keep_failed(self.response, self._asked, self.scope)
        return [event, *self._give_back("successor_creation_failed", "the response failed")]

    async def fail(self, error: FiresteelError) -> None:
        """End the response with `error`, when it was ended from outside."""
        if self.response.status in ("queued", "in_progress"):
            await self._out.send([*self._opening(), *self._fail(error)])

    def _begin_next(self, steers: list[Steer]) -> Asked:
        """Become the response that begins with `steers`."""
        old = self.response
        self._asked = self._responses.asked_next(self._asked, self._known, steers)
        self._responses.active.pop(old.id, None)
        self._writer = self._new_writer(successor_of(old, new_id()))
        self.ids.append(self.response.id)
        self._responses.active[self.response.id] = self
        self._is_over = self._is_cut = False
        return self._asked

    def _succeed(self) -> list[WireEvent]:
        """Go on as the sequence that the engine has put into the place of the one that ended."""
        steers, self._steering = self._steering, []
        self._begin_next(steers)
        self._running, self._successor = self._successor, ""
        return [self._writer.created(), self._writer.in_progress()]

    def _go_on(self, steers: list[Steer]) -> None:
        """Go on as a request of its own, when this one has ended altogether."""
        self._steering, self._steers = [], []
        self._next = self._begin_next(steers)
        self._is_open = False

    async def steer(self, steer: Steer) -> WireEvent:
        """Take the user's words in; return the event that says so, which `run` sends: nobody waits for its reader.

        Raises SteerRefused, and what refuses a request: that which succeeds the response counts as one.
        """
        self._check(steer)
        num_bytes, visit = self._origin.num_bytes + len(steer.text.encode()), self._transport.visit
        await self._pipeline.enter(self._asked.request, num_bytes, visit, self._known.num_tokens)
        self._check(steer)  # the response may have ended meanwhile
        self._steers.append(steer)
        self._dispatch()
        event = accepted(steer, self.events)
        self._out.add(event)
        return event

    def is_of(self, connection: Recent) -> bool:
        """Return whether the client of `connection` reads the events."""
        return self._origin.connection is connection

    def _check(self, steer: Steer) -> None:
        is_over = self._is_over or self._stop_reason != "" or steer.target != self.response.id
        require_open(self._asked.request, len(self._steers) + len(self._steering), is_over=is_over)

    def _dispatch(self) -> None:
        """Hand what was steered in to the engine, unless a call is being written: that one is completed first."""
        call = self._call
        if not self._steers or call is None or self._successor or self._is_over or self._stop_reason:
            return
        if not call.running or self._writer.is_in_call:
            return
        self._steering, self._steers = self._steers, []
        words = "\n\n".join(steer.text for steer in self._steering)
        try:
            self._successor = self._pipeline.steer(call, self._asked.request, words, self.scope)
        except RequestError:  # a template without a fixed tail: end now, and render it all
            self._is_cut = True
            call.stop()

    def stop(self, reason: str, *, keep_partial: bool = True) -> None:
        """End the response now; `reason` is interrupted or cancelled."""
        if self._is_over or self._stop_reason:
            return
        self._stop_reason, self._keeps_partial = reason, keep_partial
        if self._call is not None:
            self._call.stop()
