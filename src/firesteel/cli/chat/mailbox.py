"""Events of the engine's thread, handed to the event loop in batches."""

import asyncio
from collections import deque
from collections.abc import Callable

from firesteel.types import Event

BATCH_SECONDS = 0.03  # the eye sees no difference below this, and each batch draws the live region once


class Mailbox:
    """`put` may be called from any thread; `take` gets all that came, at most once in `BATCH_SECONDS`.

    The first event after a pause is handed on at once.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, take: Callable[[list[Event]], None]) -> None:
        self._loop = loop
        self._take = take
        self._events: deque[Event] = deque()
        self._taken_at = 0.0

    def put(self, event: Event) -> None:
        """Leave an event; the first one of a batch wakes the loop."""
        self._events.append(event)
        if len(self._events) == 1:
            try:
                self._loop.call_soon_threadsafe(self._schedule)
            except RuntimeError:
                return  # the loop is closed: nobody is left to read

    def _schedule(self) -> None:
        self._loop.call_at(max(self._loop.time(), self._taken_at + BATCH_SECONDS), self._drain)

    def _drain(self) -> None:
        self._taken_at = self._loop.time()
        events = [self._events.popleft() for _ in range(len(self._events))]
        if self._events:
            self._schedule()  # one came in between, and found the mailbox not empty
        if events:
            self._take(events)
