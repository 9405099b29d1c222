"""Where the engine's events wait until the client's connection takes them."""

import asyncio

from firesteel.events import coalesce
from firesteel.types import Event

Addressed = tuple[int, Event]  # (choice, event)


class Mailbox:
    """Events of one request's choices. A slow reader finds the deltas of each choice merged into one.

    `put` and `take` belong to the event loop. What waits is bounded by the answer's own length.
    """

    def __init__(self) -> None:
        self._events: list[Addressed] = []
        self._arrived: asyncio.Future[None] | None = None

    def put(self, choice: int, event: Event) -> None:
        """Add an event."""
        self._events.append((choice, event))
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    async def take(self, timeout: float) -> list[Addressed]:
        """Return all events that wait, at least one unless `timeout` seconds pass without any."""
        if not self._events:
            loop = asyncio.get_running_loop()
            self._arrived = loop.create_future()
            timer = loop.call_later(timeout, self._wake)
            try:
                await self._arrived
            finally:
                timer.cancel()
                self._arrived = None
        events, self._events = self._events, []
        return events if len(events) == 1 else coalesce(events)

    def _wake(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)
