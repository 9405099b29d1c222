"""Who may come in: as many sequences as can run plus a bounded queue; beyond that a 503 with retry-after.

Who is in waits for its turn before any work is done for it: a queued request costs its body's bytes, and
the model's threads share their cores with nobody's tokeniser. There are two queues: a fast request goes
before the others, which never wait for more than `MAX_OVERTAKES` of them in a row. Within each, the owners
of requests take turns (`router/fair.py`), and an owner of whom nothing runs or waits is never turned away.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from firesteel.errors import Overloaded
from firesteel.router.fair import FairQueue, Ticket
from firesteel.visit import Place

SMOOTHING = 0.2  # weight of the newest request in the average duration
FIRST_GUESS_SECONDS = 1.0


MAX_OVERTAKES = 4
AHEAD_SEQUENCES = 2  # prepared beyond those that run, so that the engine never waits for a tokeniser


class Admission:
    """Counts sequences in flight, and those whose turn has come. Belongs to the event loop."""

    def __init__(self, max_live: int, max_queue: int, now: Callable[[], float]) -> None:
        self.max_live = max_live
        self.max_queue = max_queue
        self.num_in_flight = 0
        self.num_refused = 0
        self._num_started = 0
        self._in_flight: Counter[str] = Counter()  # sequences of each owner
        self._started: Counter[str] = Counter()
        self._fast = FairQueue()
        self._others = FairQueue()
        self._num_tickets = 0
        self._num_overtakes = 0  # fast requests that went, since one of the others did, while these waited
        self._now = now
        self._average_seconds = FIRST_GUESS_SECONDS

    def require_room(self, num_sequences: int = 1, owner: str = "") -> None:
        """Raise Overloaded unless `num_sequences` more fit; a request that comes alone of its owner always does."""
        if self._in_flight[owner] and self.num_in_flight + num_sequences > self.max_live + self.max_queue:
            self.num_refused += 1
            raise Overloaded(
                f"{self.num_in_flight} sequences are running or queued and no more are taken; try again",
                retry_after=self.retry_after(),
            )

    @contextmanager
    def admitted(self, num_sequences: int, *, is_fast: bool = False, owner: str = "") -> Iterator[Ticket]:
        """Count `num_sequences` as in flight for as long as the context lasts. Raises Overloaded."""
        self.require_room(num_sequences, owner)
        self._count(self._in_flight, owner, num_sequences)
        self.num_in_flight += num_sequences
        self._num_tickets += 1
        ticket = Ticket(owner, num_sequences, self._num_tickets)
        (self._fast if is_fast else self._others).add(ticket)
        self._call_next()
        try:
            yield ticket
        finally:
            self.num_in_flight -= num_sequences
            self._count(self._in_flight, owner, -num_sequences)
            self._leave(ticket)

    async def turn(self, ticket: Ticket, timeout: float) -> bool:
        """Wait at most `timeout` seconds for the request's turn; return whether it has come."""
        if not ticket.turn.is_set():
            # Not wait_for: before Python 3.12 it drops a cancellation that comes together with the turn.
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await ticket.turn.wait()
        return ticket.turn.is_set()

    def place(self, ticket: Ticket) -> Place:
        """Return how many requests wait before that of `ticket`, if none comes that overtakes it, and how long."""
        waiting = [*self._fast.order(), *self._others.order()]
        if ticket not in waiting:
            return Place(0, 0.0)
        ahead = waiting[: waiting.index(ticket)]
        turns = 1 + sum(other.num_sequences for other in ahead)
        return Place(len(ahead), turns * self._average_seconds / self.max_live)

    def figures(self) -> dict[str, float]:
        """Return what the metrics tell of the queue."""
        queues = (self._fast, self._others)
        return {
            "num_queued": len(self._fast) + len(self._others),
            "num_queued_fast": len(self._fast),
            "num_queued_keys": len({ticket.owner for queue in queues for ticket in queue.heads()}),
            "num_in_flight": self.num_in_flight,
            "queue_wait_estimate_seconds": (1 + sum(map(len, queues))) * self._average_seconds / self.max_live,
        }

    def _may_start(self, ticket: Ticket) -> bool:
        total = self._num_started + ticket.num_sequences
        return not self._num_started or total <= self.max_live + AHEAD_SEQUENCES

    def _leave(self, ticket: Ticket) -> None:
        if ticket.started_at is None:
            (self._fast if ticket in self._fast else self._others).remove(ticket)
        else:
            self._num_started -= ticket.num_sequences
            self._count(self._started, ticket.owner, -ticket.num_sequences)
            self._average_seconds += SMOOTHING * (self._now() - ticket.started_at - self._average_seconds)
        self._call_next()

    def _call_next(self) -> None:
        while (found := self._next()) is not None:
            queue, ticket = found
            is_overtaking = queue is self._fast and bool(self._others)
            self._num_overtakes = self._num_overtakes + 1 if is_overtaking else 0
            queue.start(ticket)
            self._num_started += ticket.num_sequences
            self._count(self._started, ticket.owner, ticket.num_sequences)
            ticket.started_at = self._now()
            ticket.turn.set()

    def _next(self) -> tuple[FairQueue, Ticket] | None:
        """Return who may start now: the next in turn, if there is room, else someone of whom nothing runs.

        The latter is prepared beyond the bound, since the engine takes him before others' second ones
        (`engine/schedule.py`); otherwise he would wait until what is prepared has run.
        """
        queue = self._next_queue()
        heads = queue.heads()
        if heads and self._may_start(heads[0]):
            return queue, heads[0]
        for queue in (self._fast, self._others):
            for ticket in queue.heads():
                if not self._started[ticket.owner] and self._num_started:
                    return queue, ticket
        return None

    def _next_queue(self) -> FairQueue:
        """Return the queue whose first request is next; an empty one when nobody waits."""
        is_fair = self._num_overtakes < MAX_OVERTAKES or not self._others
        return self._fast if self._fast and is_fair else self._others

    @staticmethod
    def _count(counter: "Counter[str]", owner: str, number: int) -> None:
        counter[owner] += number
        if not counter[owner]:
            del counter[owner]

    def retry_after(self) -> float:
        """Return the seconds until a place is likely to be free: one average request, spread over the live."""
        return max(1.0, self._average_seconds / self.max_live)
