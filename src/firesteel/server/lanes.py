"""The lanes of a WebSocket: one request after the other in each, side by side among them."""

import asyncio
import time
import uuid
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from firesteel.server.answer import ClientGone
from firesteel.server.faults import fault_of
from firesteel.server.metrics import Metrics
from firesteel.server.observe import CLIENT_GONE, current_id, observed
from firesteel.server.pace import Pace
from firesteel.server.record import Record, note_finished
from firesteel.stream.response_events import Events, WireEvent
from firesteel.types import Delta, Event, Finish, Progress
from firesteel.visit import Place, Visit
from firesteel.wire.openai_responses import CreateEvent
from firesteel.wire.socket_errors import error_frame

if TYPE_CHECKING:
    from firesteel.server.websocket import Connection

PROGRESS = "firesteel.progress"
METHOD, PATH = "response.create", "/v1/responses"  # as logs and traces name a request of a WebSocket


class LaneTransport:
    """Where the events of one lane go; a `Transport`."""

    is_eager = True

    def __init__(self, connection: "Connection", metrics: Metrics, visit: Visit) -> None:
        self.visit = visit
        self._connection = connection
        self._metrics = metrics
        self._pace = Pace(metrics.gaps, time.perf_counter())

    async def send(self, events: list[WireEvent]) -> None:
        """Send `events`, waiting for a slow reader."""
        await self._connection.send(events)

    async def progress(self, id: str, progress: Progress | Place, events: Events) -> None:
        """Tell how many tokens of the prompt are computed; while it is queued, its place."""
        if isinstance(progress, Place):
            state: dict[str, float] = {
                "queued_ahead": progress.num_ahead,
                "estimated_seconds": round(progress.seconds, 3),
            }
        else:
            state = {"computed_tokens": progress.num_computed, "prompt_tokens": progress.num_prompt}
        await self._connection.send([events.event(PROGRESS, response_id=id, **state)])

    def observe(self, event: Event) -> None:
        """Count what the engine says."""
        if isinstance(event, Finish):
            note_finished(event.usage)
        elif isinstance(event, Delta) and event.text:
            self._metrics.text(self._pace, event, time.perf_counter())


class Lane:
    """Requests that are answered one after the other. An idle one costs no task."""

    def __init__(self, connection: "Connection", stream_id: str | None) -> None:
        self._connection = connection
        self._stream_id = stream_id
        self._waiting: deque[tuple[CreateEvent, int]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._written: set[str] = set()  # responses of this lane
        self.idle = asyncio.Event()
        self.idle.set()

    @property
    def num_waiting(self) -> int:
        """How many requests wait for their turn."""
        return len(self._waiting)

    def add(self, create: CreateEvent, num_bytes: int) -> None:
        """Answer `create` when its turn comes."""
        self._waiting.append((create, num_bytes))
        self._connection.num_bytes += num_bytes
        if self._task is None or self._task.done():
            self.idle.clear()
            self._task = asyncio.create_task(self._work())

    async def close(self) -> None:
        """End what runs, because the client is gone."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _work(self) -> None:
        try:
            while self._waiting:
                async with self._connection.active:
                    await self._answer(*self._waiting.popleft())
        except ClientGone:
            self._connection.give_up()
        finally:
            self.idle.set()

    async def _answer(self, create: CreateEvent, num_bytes: int) -> None:
        """Answer one request, which is told of like one over HTTP."""
        record = Record(uuid.uuid4().hex, METHOD, PATH, current_id())
        record.route, service = PATH, self._connection.service
        with observed(record, self._connection.headers, service.listeners):
            record.status = CLIENT_GONE  # unless it gets further
            record.status = await self._turn(create, num_bytes, record.id)
        self._connection.num_bytes -= num_bytes

    async def _turn(self, create: CreateEvent, num_bytes: int, request_id: str) -> int:
        """Return the status that the request would have had over HTTP."""
        connection, status = self._connection, CLIENT_GONE  # unless it gets further
        visit = connection.service.desk.visit(connection.caller, "responses", request_id)
        try:
            connection.service.require_open()
            transport = connection.transport(visit)
            turn = await connection.responses.turn(
                create,
                transport,
                request_id=request_id,
                scope=connection.scope,
                num_bytes=num_bytes,
                headers=connection.headers,
                connection=connection.known,
                stream_id=self._stream_id,
            )
            try:
                await turn.run()
                status = turn.status
            finally:
                self._written.update(turn.ids)
        except ClientGone:
            raise
        except Exception as error:
            fault = fault_of(error)
            status = fault.status
            self._evict(create.previous_response_id)
            await connection.send_bytes(error_frame(fault, self._stream_id, visit.headers()))
        finally:
            connection.service.metrics.answered("responses", status)
            visit.close(status)
        return status

    def _evict(self, id: str | None) -> None:
        """Forget what a failed request went on from, unless another lane has written it (a fork)."""
        if id is not None and id in self._written:
            self._connection.known.drop(self._connection.scope, id)
