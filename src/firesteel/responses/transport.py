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
