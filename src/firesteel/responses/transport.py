"""Where the events of a response go."""

from typing import Protocol

from firesteel.stream.response_events import Events, WireEvent
from firesteel.types import Event, Progress
from firesteel.visit import Place, Visit


class Stopped(Exception):
    """A response was ended while it waited for its turn."""


class Transport(Protocol):
    """Where events go. `is_eager`: an early failure is an event too; else it is raised while nothing was sent."""

    is_eager: bool

    @property
    def visit(self) -> Visit:
        """Who counts what the response costs."""
        ...

    async def send(self, events: list[WireEvent]) -> None:
        """Send `events`, waiting for a slow reader."""
        ...

    async def progress(self, id: str, progress: Progress | Place, events: Events) -> None:
        """Tell how far the prompt of response `id` is; while it is queued, its place.

        `events` numbers what becomes an event.
        """
        ...

    def observe(self, event: Event) -> None:
        """See what the engine says, for the metrics."""
        ...


class Outbox:
    """Sends the events of one turn in the order of their numbers. Only the turn waits for its reader."""

    def __init__(self, transport: Transport) -> None:
        self.has_sent = False
        self._transport = transport
        self._added: list[WireEvent] = []

    def add(self, event: WireEvent) -> None:
        """Leave `event` to whoever sends next."""
        self._added.append(event)

    async def send(self, events: list[WireEvent]) -> None:
        """Send what was added, then `events`, which were numbered after it."""
        events, self._added = [*self._added, *events], []
        if events:
            self.has_sent = True
            await self._transport.send(events)

    async def progress(self, id: str, progress: Progress | Place, events: Events) -> None:
        """Send what was added, then tell how far the prompt of response `id` is."""
        await self.send([])
        await self._transport.progress(id, progress, events)
