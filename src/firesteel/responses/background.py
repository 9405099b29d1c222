"""Responses that nobody waits for: they run on, and their events can be read later, from any place on."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator

from firesteel.responses.turn import Turn
from firesteel.stream.response_events import Events, WireEvent
from firesteel.types import Event, Progress
from firesteel.visit import UNCOUNTED, Place, Visit

MAX_LOGS = 256  # ended responses whose events can still be read


class EventLog:
    """The events of one response in the background; a `Transport`. Any number of readers follow it."""

    is_eager = True

    def __init__(self, visit: Visit = UNCOUNTED) -> None:
        self.visit = visit
        self._events: list[WireEvent] = []
        self._has_ended = False
        self._more = asyncio.Event()

    async def send(self, events: list[WireEvent]) -> None:
        """Keep `events`."""
        self._events += events
        self._wake()

    async def progress(self, id: str, progress: Progress | Place, events: Events) -> None:
        """Say nothing: readers poll."""

    def observe(self, event: Event) -> None:
        """Count nothing: no client waits."""

    def end(self) -> None:
        """Tell the readers that nothing follows."""
        self._has_ended = True
        self._wake()

    def _wake(self) -> None:
        self._more.set()
        self._more = asyncio.Event()

    async def read(self, after: int, timeout: float) -> AsyncIterator[list[WireEvent]]:
        """Yield the events numbered above `after`; an empty list whenever `timeout` seconds bring none."""
        place = max(0, after + 1)
        while True:
            events, has_ended, more = self._events[place:], self._has_ended, self._more
            if events:
                place += len(events)
                yield events
            elif has_ended:
                return
            else:
                try:
                    async with asyncio.timeout(timeout):
                        await more.wait()
                except TimeoutError:
                    yield []


class Background:
    """Runs turns that outlive the request that asked for them. Belongs to the event loop."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._logs: OrderedDict[tuple[str, str], EventLog] = OrderedDict()

    async def start(self, turn: Turn, log: EventLog) -> None:
        """Run `turn`, whose transport is `log`; its response is queued when this returns."""
        await turn.queue()
        id = turn.response.id
        self._logs[turn.scope, id] = log
        while len(self._logs) > MAX_LOGS:
            self._logs.popitem(last=False)
        task = asyncio.create_task(self._run(turn, log))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, turn: Turn, log: EventLog) -> None:
        try:
            await turn.run()
        finally:
            log.visit.close(200)
            log.end()

    def log(self, scope: str, id: str) -> EventLog | None:
        """Return the events of a response in the background, as long as they are kept."""
        return self._logs.get((scope, id))

    async def close(self) -> None:
        """End what runs."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
