"""Whose turn is next: start-time fair queueing between owners, first come first served within one.

Each owner has a virtual time that grows with what it was given; whoever has got least goes first, and one that
comes back counts from now on. So of two owners with work, neither gets more than one turn ahead.
"""

import asyncio
from collections import deque


class Ticket:
    """The place of one admitted request of `owner`."""

    def __init__(self, owner: str, num_sequences: int, number: int) -> None:
        self.owner = owner
        self.num_sequences = num_sequences
        self.number = number  # in order of arrival
        self.started_at: float | None = None
        self.turn = asyncio.Event()


class FairQueue:
    """Waiting tickets of many owners."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Ticket]] = {}
        self._served: dict[str, float] = {}  # virtual time up to which an owner has had its share
        self._now = 0.0  # virtual time: that of the last turn
        self._order: list[Ticket] | None = []

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def __contains__(self, ticket: Ticket) -> bool:
        return ticket in self._waiting.get(ticket.owner, ())

    @property
    def num_owners(self) -> int:
        """How many owners wait."""
        return len(self._waiting)

    def add(self, ticket: Ticket) -> None:
        """Put `ticket` behind the others of its owner."""
        self._waiting.setdefault(ticket.owner, deque()).append(ticket)
        self._order = None

    def remove(self, ticket: Ticket) -> None:
        """Take out a ticket whose turn will not come."""
        queue = self._waiting[ticket.owner]
        queue.remove(ticket)
        if not queue:
            del self._waiting[ticket.owner]
        self._order = None

    def start(self, ticket: Ticket) -> None:
        """Take out a ticket whose turn has come; its owner has had so much."""
        begin = self._begin(ticket.owner)
        if ticket is self.heads()[0]:  # else it was taken out of turn, which moves nobody's time but its owner's
            self._now = begin
        self._served[ticket.owner] = begin + ticket.num_sequences
        self.remove(ticket)
        self._served = {owner: time for owner, time in self._served.items() if time > self._now}

    def heads(self) -> list[Ticket]:
        """Return the first ticket of each owner, in the order of their turns."""
        return sorted((queue[0] for queue in self._waiting.values()), key=lambda t: (self._begin(t.owner), t.number))

    def order(self) -> list[Ticket]:
        """Return all tickets in the order of their turns, if nobody comes or leaves."""
        if self._order is None:
            timed = []
            for owner, queue in self._waiting.items():
                begin = self._begin(owner)
                for ticket in queue:
                    timed.append((begin, ticket.number, ticket))
                    begin += ticket.num_sequences
            self._order = [ticket for *_, ticket in sorted(timed)]
        return self._order

    def _begin(self, owner: str) -> float:
        return max(self._now, self._served.get(owner, 0.0))
