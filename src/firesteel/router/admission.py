"""Who may come in: as many sequences as can run plus a bounded queue; beyond that a 503 with retry-after."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from firesteel.errors import Overloaded

SMOOTHING = 0.2  # weight of the newest request in the average duration
FIRST_GUESS_SECONDS = 1.0


class Admission:
    """Counts sequences in flight. Belongs to the event loop."""

    def __init__(self, max_live: int, max_queue: int, now: Callable[[], float]) -> None:
        self.max_live = max_live
        self.max_queue = max_queue
        self.num_in_flight = 0
        self.num_refused = 0
        self._now = now
        self._average_seconds = FIRST_GUESS_SECONDS

    def require_room(self, num_sequences: int = 1) -> None:
        """Raise Overloaded unless `num_sequences` more fit; a request that comes alone always does."""
        if self.num_in_flight and self.num_in_flight + num_sequences > self.max_live + self.max_queue:
            self.num_refused += 1
            raise Overloaded(
                f"{self.num_in_flight} sequences are running or queued and no more are taken; try again",
                retry_after=self.retry_after(),
            )

    @contextmanager
    def admitted(self, num_sequences: int) -> Iterator[None]:
        """Count `num_sequences` as in flight for as long as the context lasts. Raises Overloaded."""
        self.require_room(num_sequences)
        self.num_in_flight += num_sequences
        started = self._now()
        try:
            yield
        finally:
            self.num_in_flight -= num_sequences
            self._average_seconds += SMOOTHING * (self._now() - started - self._average_seconds)

    def retry_after(self) -> float:
        """Return the seconds until a place is likely to be free: one average request, spread over the live."""
        return max(1.0, self._average_seconds / self.max_live)
