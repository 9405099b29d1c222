"""Who may come in: as many sequences as can run plus a bounded queue; beyond that a 503 with retry-after.

Who is in waits for its turn before any work is done for it: a queued request costs its body's bytes, and
the model's threads share their cores with nobody's tokeniser. There are two queues: a fast request goes
before the others, which never wait for more than `MAX_OVERTAKES` of them in a row.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from firesteel.errors import Overloaded

SMOOTHING = 0.2  # weight of the newest request in the average duration
FIRST_GUESS_SECONDS = 1.0


MAX_OVERTAKES = 4
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
        self._fast: deque[Ticket] = deque()
        self._others: deque[Ticket] = deque()
        self._num_overtakes = 0  # fast requests that went, since one of the others did, while these waited
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
    def admitted(self, num_sequences: int, *, is_fast: bool = False) -> Iterator[Ticket]:
        """Count `num_sequences` as in flight for as long as the context lasts. Raises Overloaded."""
        self.require_room(num_sequences)
        self.num_in_flight += num_sequences
        started = self._now()
        ticket = self._queued(num_sequences, self._fast if is_fast else self._others)
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

    def num_ahead(self, ticket: Ticket) -> int:
        """Return how many requests wait before that of `ticket`, if none comes that overtakes it."""
        waiting = [*self._fast, *self._others]
        return waiting.index(ticket) if ticket in waiting else 0

    def _queued(self, num_sequences: int, queue: deque[Ticket]) -> Ticket:
        ticket = Ticket(num_sequences)
        queue.append(ticket)
        self._call_next()
        return ticket

    def _may_start(self, ticket: Ticket) -> bool:
        total = self._num_started + ticket.num_sequences
        return not self._num_started or total <= self.max_live + AHEAD_SEQUENCES

    def _leave(self, ticket: Ticket) -> None:
        queue = next((queue for queue in (self._fast, self._others) if ticket in queue), None)
        if queue is not None:
            queue.remove(ticket)
        else:
            self._num_started -= ticket.num_sequences
        self._call_next()

    def _call_next(self) -> None:
        while (queue := self._next_queue()) and self._may_start(queue[0]):
            following = queue.popleft()
            is_overtaking = queue is self._fast and bool(self._others)
            self._num_overtakes = self._num_overtakes + 1 if is_overtaking else 0
            self._num_started += following.num_sequences
            following.turn.set()

    def _next_queue(self) -> deque[Ticket]:
        """Return the queue whose first request is next; an empty one when nobody waits."""
        is_fair = self._num_overtakes < MAX_OVERTAKES or not self._others
        return self._fast if self._fast and is_fair else self._others

    def retry_after(self) -> float:
        """Return the seconds until a place is likely to be free: one average request, spread over the live."""
        return max(1.0, self._average_seconds / self.max_live)
