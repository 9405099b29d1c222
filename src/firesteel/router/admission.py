"""Who may come in: as many sequences as can run plus a bounded queue; beyond that a 503 with retry-after.

Who is in waits for its turn before any work is done for it: a queued request costs its body's bytes, and
the model's threads share their cores with nobody's tokeniser.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from firesteel.errors import Overloaded

SMOOTHING = 0.2  # weight of the newest request in the average duration
FIRST_GUESS_SECONDS = 1.0


AHEAD_SEQUENCES = 2  # prepared beyond those that run, so that the engine never waits for a tokeniser


class Ticket:
    """The place of one admitted request."""

    def __init__(self, num_sequences: int) -> None:
        self.num_sequences = num_sequences
        self.turn = asyncio.Event()


class Admission:
    """Counts sequences in flight, and those whose turn has come. Belongs to the event loop."""

    def __init__(self, max_live: int, max_queue: int, now: Callable[[], float]) -> None:
        self.max_live = max_live
        self.max_queue = max_queue
        self.num_in_flight = 0
        self.num_refused = 0
        self._num_started = 0
        self._queue: deque[Ticket] = deque()
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
    def admitted(self, num_sequences: int) -> Iterator[Ticket]:
        """Count `num_sequences` as in flight for as long as the context lasts. Raises Overloaded."""
        self.require_room(num_sequences)
        self.num_in_flight += num_sequences
        started = self._now()
        ticket = self._queued(num_sequences)
        try:
            yield ticket
        finally:
            self.num_in_flight -= num_sequences
            self._leave(ticket)
            self._average_seconds += SMOOTHING * (self._now() - started - self._average_seconds)

    async def turn(self, ticket: Ticket, timeout: float) -> bool:
        """Wait at most `timeout` seconds for the request's turn; return whether it has come."""
        if not ticket.turn.is_set():
            # Not wait_for: before Python 3.12 it drops a cancellation that comes together with the turn.
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await ticket.turn.wait()
        return ticket.turn.is_set()

    def _queued(self, num_sequences: int) -> Ticket:
        ticket = Ticket(num_sequences)
        self._queue.append(ticket)
        self._call_next()
        return ticket

    def _may_start(self, ticket: Ticket) -> bool:
        total = self._num_started + ticket.num_sequences
        return not self._num_started or total <= self.max_live + AHEAD_SEQUENCES

    def _leave(self, ticket: Ticket) -> None:
        if ticket in self._queue:
            self._queue.remove(ticket)
        else:
            self._num_started -= ticket.num_sequences
        self._call_next()

    def _call_next(self) -> None:
        while self._queue and self._may_start(self._queue[0]):
            following = self._queue.popleft()
            self._num_started += following.num_sequences
            following.turn.set()

    def retry_after(self) -> float:
        """Return the seconds until a place is likely to be free: one average request, spread over the live."""
        return max(1.0, self._average_seconds / self.max_live)
