"""Responses that nobody waits for: they run on, and their events can be read later, from any place on."""

import asyncio
from bisect import bisect_right
from collections import defaultdict
from collections.abc import AsyncIterator

import msgspec

from firesteel.errors import FiresteelError, internal
from firesteel.responses.turn import Turn
from firesteel.stream.response_events import Events, WireEvent
from firesteel.types import Event, Progress
from firesteel.visit import UNCOUNTED, Place, Visit

MAX_LOGS = 256  # ended responses of a scope whose events can still be read
MAX_LOG_BYTES = 32_000_000  # of their events


class _Numbered(msgspec.Struct):
    sequence_number: int


_decode = msgspec.json.Decoder(_Numbered).decode


def _number(event: WireEvent) -> int:
    return _decode(event[1]).sequence_number


class EventLog:
    """The events of one response in the background; a `Transport`. Any number of readers follow it."""

    is_eager = True

    def __init__(self, visit: Visit = UNCOUNTED) -> None:
        self.visit = visit
        self.ids: list[str] = []  # of the responses that it tells of
        self.num_bytes = 0
        self.has_ended = False
        self._events: list[WireEvent] = []
        self._more = asyncio.Event()

    async def send(self, events: list[WireEvent]) -> None:
        """Keep `events`."""
        self._events += events
        self.num_bytes += sum(len(data) for _, data in events)
        self._wake()

    async def progress(self, id: str, progress: Progress | Place, events: Events) -> None:
        """Say nothing: readers poll."""

    def observe(self, event: Event) -> None:
        """Count nothing: no client waits."""

    def end(self) -> None:
        """Tell the readers that nothing follows."""
        self.has_ended = True
        self._wake()

    def _wake(self) -> None:
        self._more.set()
        self._more = asyncio.Event()

    async def read(self, after: int, timeout: float) -> AsyncIterator[list[WireEvent]]:
        """Yield the events numbered above `after`; an empty list whenever `timeout` seconds bring none."""
        while True:
            start = bisect_right(self._events, after, key=_number)
            events, has_ended, more = self._events[start:], self.has_ended, self._more
            if events:
                after = _number(events[-1])
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
        self._logs: defaultdict[str, dict[str, EventLog]] = defaultdict(dict)  # by scope and id
        self._last_word = FiresteelError("the response was ended")

    @property
    def is_busy(self) -> bool:
        """Whether anything runs."""
        return bool(self._tasks)

    async def start(self, turn: Turn, log: EventLog) -> None:
        """Run `turn`, whose transport is `log`; its response is queued when this returns.

        Raises what its key may not ask for.
        """
        await turn.enter()
        await turn.queue()
        log.ids = turn.ids
        self._logs[turn.scope][turn.response.id] = log
        task = asyncio.create_task(self._run(turn, log))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, turn: Turn, log: EventLog) -> None:
        """Run `turn` to an end that can be read, whatever happens."""
        try:
            await turn.run()
        except asyncio.CancelledError:
            await turn.fail(self._last_word)
        except Exception as error:
            await turn.fail(internal(error))
            raise
        finally:
            log.visit.close(turn.status)
            log.end()
            self._tidy(self._logs[turn.scope])

    def _tidy(self, logs: dict[str, EventLog]) -> None:
        """Let go of the oldest that have ended, until the others are few and small enough."""
        ended = [(id, log.num_bytes) for id, log in logs.items() if log.has_ended]
        total = sum(num_bytes for _, num_bytes in ended)
        for number, (id, num_bytes) in enumerate(ended):
            if len(ended) - number <= MAX_LOGS and total <= MAX_LOG_BYTES:
                return
            del logs[id]
            total -= num_bytes

    def log(self, scope: str, id: str) -> EventLog | None:
        """Return the events of a response in the background, as long as they are kept."""
        return self._logs[scope].get(id)

    def forget(self, scope: str, id: str) -> None:
        """Forget the events of the response `id`, with those of the responses that they stand among."""
        logs = self._logs[scope]
        for first in [first for first, log in logs.items() if id in log.ids]:
            del logs[first]

    async def close(self, error: FiresteelError) -> None:
        """End what runs; who asks for it later finds `error`."""
        self._last_word = error
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
