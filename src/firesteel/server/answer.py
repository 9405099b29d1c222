"""One request from its body to its last byte, as an ASGI response."""

import asyncio
import time
from collections.abc import Coroutine, Iterable
from math import ceil
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from firesteel import types
from firesteel.call import Call
from firesteel.config import ServerConfig
from firesteel.errors import BodyTooLarge, BodyTooSlow, FiresteelError, Overloaded, TookTooLong
from firesteel.pipeline import WAITING_SECONDS, Pipeline
from firesteel.server.metrics import Metrics
from firesteel.server.pace import Pace
from firesteel.server.record import note_finished
from firesteel.stream import sse
from firesteel.stream.mailbox import Addressed
from firesteel.stream.openai import error_event
from firesteel.types import Delta, Failure, Finish, Progress
from firesteel.visit import UNCOUNTED, Headers, Place, Visit
from firesteel.wire.errors import encode_error, error_of

EVENT_STREAM = b"text/event-stream; charset=utf-8"


class ClientGone(Exception):
    """The client closed the connection, or takes nothing any more."""


class Answer:
    """Answers one POST; `visit` counts it.

    As an ASGI app it sees the client leave, also while it only waits for the engine.
    """

    is_counted = True  # by a visit of its own; not what asks the model for nothing

    def __init__(
        self,
        pipeline: Pipeline,
        metrics: Metrics,
        request: Request,
        kind: str,
        *,
        config: ServerConfig,
    ) -> None:
        self._pipeline = pipeline
        self._metrics = metrics
        self._request = request
        self._kind = kind
        self._config = config
        self._id = request.state.request_id
        self._scope = request.state.scope
        self._received_at = time.perf_counter()
        self._has_begun = False  # the response's status has been sent
        self._status = 200  # which tells of errors that came after it, too
        self._pace = Pace(metrics.gaps, self._received_at)
        self._queued: Headers = []  # where it waited at first
        self.visit: Visit = UNCOUNTED
        self._closes_visit = True
        self.service: Any = None  # whoever made this, for the answers that need more than the pipeline

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and end all work for this request as soon as the client is gone."""
        self._send = send
        status = 500
        try:
            body = await self._read_body()
            await self._until_gone(self._in_time(body), receive)
            status = self._status
        except ClientGone:
            status = 499
        except FiresteelError as error:
            status = error.status
            await self._send_error(error)
        finally:
            self._metrics.answered(self._kind, status)
            if self._closes_visit:
                self.visit.close(status)

    def _check_model(self) -> None:
        """Raise Forbidden when the key may not use the model; what is counted is asked by its visit."""
        self._request.state.caller.check_model(self._pipeline.model_id)

    async def _read_body(self) -> bytes:
        self._check_size(int(self._request.headers.get("content-length", 0)))
        parts, size = [], 0
        try:
            async with asyncio.timeout(self._config.body_seconds):
                async for part in self._request.stream():
                    parts.append(part)
                    size += len(part)
                    self._check_size(size)
        except TimeoutError:
            seconds = self._config.body_seconds
            raise BodyTooSlow(f"the body did not arrive within {seconds:g} seconds; send it faster") from None
        except ClientDisconnect:
            raise ClientGone from None
        return b"".join(parts)

    def _check_size(self, num_bytes: int) -> None:
        if num_bytes > self._config.max_body_bytes:
            most = self._config.max_body_bytes
            raise BodyTooLarge(f"the body exceeds {most} bytes; send less, or let the server take more (`max_body_mb`)")

    async def _in_time(self, body: bytes) -> None:
        """Answer `body` within the time limit, if there is one. What takes longer is cancelled before it is told."""
        seconds = self._config.request_seconds
        limit = asyncio.timeout(seconds or None)
        try:
            async with limit:
                await self._answer(body)
        except TimeoutError:
            if not limit.expired():
                raise
            message = f"the answer was not complete within {seconds:g} seconds, this server's limit; ask for less"
            raise TookTooLong(f"{message}, such as a smaller `max_tokens`") from None

    async def _until_gone(self, answering: Coroutine[None, None, None], receive: Receive) -> None:
        """Run `answering` unless the client leaves first."""
        answer = asyncio.ensure_future(answering)
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise ClientGone
            answer.result()
        finally:
            for task in (answer, gone):
                task.cancel()
            await asyncio.gather(answer, gone, return_exceptions=True)

    async def _answer(self, body: bytes) -> None:
        headers = self._request.headers
        calling = self._pipeline.call(
            self._kind, body, self._id, self._wait, scope=self._scope, headers=headers, visit=self.visit
        )
        async with calling as call:
            if call.request.stream:
                await self._stream(call)
            else:
                await self._collect(call)

    async def _wait(self, request: types.Request, place: Place) -> None:
        """Keep the connection of a queued stream visibly alive."""
        self._note(place)
        if request.stream:
            if not self._has_begun:
                await self._begin(EVENT_STREAM)
            await self._write(sse.comment(queued(place)))

    def _note(self, place: Place) -> None:
        """Let the response's headers say where it waited."""
        self._queued = self._queued or [
            (b"x-firesteel-queue-position", b"%d" % place.num_ahead),
            (b"x-firesteel-queue-seconds", b"%.3f" % place.seconds),
        ]

    async def _stream(self, call: Call) -> None:
        """Send SSE. The status waits for the engine's first word, so that an early failure is a real status."""
        stream = self._pipeline.stream_of(call)
        progress = Progress(self._id, 0, call.num_prompt_tokens)
        head = stream.begin()
        while not call.is_complete:
            events = await call.take(WAITING_SECONDS)
            if not self._has_begun:
                _raise_failure(events)
                await self._begin(EVENT_STREAM)
            progress = next((e for _, e in reversed(events) if isinstance(e, Progress)), progress)
            events = events or [(0, progress)]
            await self._write(head + b"".join([stream.event(choice, event) for choice, event in events]))
            head = b""
            self._observe(events)
        await self._write(stream.end(), last=True)

    async def _collect(self, call: Call) -> None:
        collector = self._pipeline.collector_of(call)
        while not call.is_complete:
            for choice, event in (events := await call.take(WAITING_SECONDS)):
                collector.event(choice, event)
            self._observe(events)
        await self._send_whole(collector.body())

    def _observe(self, events: Iterable[Addressed]) -> None:
        now = time.perf_counter()
        for _, event in events:
            if isinstance(event, Finish):
                note_finished(event.usage)
            elif isinstance(event, Delta) and event.text:
                self._metrics.text(self._pace, event, now)
            elif isinstance(event, Failure):
                self._status = error_of(event).status

    async def _send_whole(self, body: bytes, status: int = 200, extra: Headers | None = None) -> None:
        await self._begin(b"application/json", status, [(b"content-length", b"%d" % len(body)), *(extra or [])])
        await self._write(body, last=True)

    async def _begin(self, content_type: bytes, status: int = 200, extra: Headers | None = None) -> None:
        self._has_begun = True
        milliseconds = 1000 * (time.perf_counter() - self._received_at)
        headers = [
            (b"content-type", content_type),
            (b"cache-control", b"no-store"),
            (b"request-id" if self._kind == "messages" else b"x-request-id", self._id.encode()),
            (b"openai-processing-ms", b"%d" % milliseconds),
            *self.visit.headers(),
            *self._queued,
            *(extra or []),
        ]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def _write(self, data: bytes, *, last: bool = False) -> None:
        """Send, waiting for a slow reader; one that takes nothing for too long counts as gone."""
        if not data and not last:
            return
        try:
            async with asyncio.timeout(self._config.idle_write_seconds):
                await self._send({"type": "http.response.body", "body": data, "more_body": not last})
        except TimeoutError:
            raise ClientGone from None

    async def _send_error(self, error: FiresteelError) -> None:
        """Send `error` with its status, or as the stream's last event when the status is out already."""
        if self._has_begun:
            await self._write(error_event(error, self._kind), last=True)
            return
        extra = []
        if isinstance(error, Overloaded):
            extra.append((b"retry-after", b"%d" % max(1, ceil(error.retry_after))))
        await self._send_whole(encode_error(error, self._kind), error.status, extra)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def queued(place: Place) -> str:
    """Return what the comments of a stream say about its place in the queue."""
    return f"queued {place.num_ahead}, about {place.seconds:.1f} s"


def _raise_failure(events: Iterable[Addressed]) -> None:
    failure = next((event for _, event in events if isinstance(event, Failure)), None)
    if failure is not None:
        raise error_of(failure)
