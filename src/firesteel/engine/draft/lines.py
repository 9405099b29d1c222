"""What the draft model knows of each sequence, and what it holds: pure bookkeeping, without threads or backend."""

import weakref
from typing import NamedTuple

from firesteel.engine.draft.base import num_common
from firesteel.engine.draft.outcomes import Frontier, Limits, Node, Outcomes


class Line:
    """One sequence as the draft model sees it, shared by two threads under the lock of its `DraftThread`."""

    def __init__(self, tokens: list[int], end_tokens: frozenset[int]) -> None:
        self.known = list(tokens)
        self.outcomes = Outcomes(end_tokens)
        self.slot: Slot | None = None
        self.limits: Limits | None = None  # None: nothing is to be prepared now
        self.num_left = 0  # nodes that may be computed before the next word from the engine
        self.is_lost = False  # it does not fit into the draft model

    @property
    def lag(self) -> int:
        """How many known tokens the draft model has not computed."""
        return len(self.known) - (min(self.slot.num_agreed, len(self.slot.held)) if self.slot is not None else 0)

    def frontier(self, max_nodes: int) -> Frontier | None:
        """Return what to compute next; None when there is nothing to do."""
        if self.limits is None or self.num_left <= 0 or self.is_lost:
            return None
        return self.outcomes.next(self.limits, min(self.num_left, max_nodes))

    def rewind(self, num_prompt: int, output: list[int]) -> None:
        """Go back to where the output was `output`."""
        num_kept = min(len(self.known), num_prompt + len(output))
        self.known[num_prompt:] = output
        self.outcomes.clear()
        if self.slot is not None:
            self.slot.num_agreed = min(self.slot.num_agreed, num_kept)


class Job(NamedTuple):
    """One step of the draft backend."""

    line: Line
    slot: "Slot"
    start: int
    tokens: list[int]
    nodes: list[Node]  # what its last rows answer; empty while it reads

    @property
    def end(self) -> int:
        """Positions that are held after it."""
        return self.start + len(self.tokens)


class Slot:
    """A sequence of the draft backend. It belongs to a line for as long as that exists; what it holds stays."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.held: list[int] = []  # computed tokens, the guessed ones too
        self.num_agreed = 0  # of them, known to be the line's
        self.is_new = False  # taken, and nothing was computed in it since
        self._owner: weakref.ref[Line] | None = None

    @property
    def line(self) -> Line | None:
        """The sequence that it belongs to; None when that has ended."""
        return self._owner() if self._owner is not None else None

    def give(self, line: Line) -> None:
        """Let it belong to `line`."""
        line.slot, self._owner = self, weakref.ref(line)
        self.num_agreed, self.is_new = 0, True

    def job(self, line: Line, frontier: Frontier, max_rows: int) -> Job:
        """Return the next step on the way to `frontier`: a piece of what is known, or the path itself."""
        offset = min(self.num_agreed, len(self.held))
        wanted = [*line.known[offset:], *frontier.path]
        common = num_common(self.held[offset:], wanted)
        self.num_agreed = min(offset + common, len(line.known))
        first = min(common, len(wanted) - len(frontier.nodes))
        if first < 0:  # all that is known is held, and what came of its last token was not kept
            wanted.insert(0, line.known[offset - 1])
            offset, first = offset - 1, 0
        tokens = wanted[first : first + max_rows]
        is_last = first + len(tokens) == len(wanted)
        return Job(line, self, offset + first, tokens, frontier.nodes if is_last else [])
