"""Which pages of KV a sequence has: allocation, sharing and copies on write. Knows no tensor."""

from collections.abc import Callable, Iterable

from firesteel.errors import EngineFailure

PAGE = 64  # positions of a page; the engine saves blocks of 256
DUMP = 0  # the page that padded rows write into; it belongs to nobody


def num_pages(num_cells: int, num_sequences: int) -> int:
    """Return the pages that hold `num_cells` cells: each sequence may waste most of three, its last, a shared one
    and one that a step writes ahead into."""
    return 1 + -(-num_cells // PAGE) + 3 * num_sequences


class Pages:
    """Tables of pages. A page may belong to several sequences; the one that writes into it gets a copy first."""

    def __init__(self, count: int, num_sequences: int, copy: Callable[[int, int], None]) -> None:
        """`copy(source, target)` copies a page's KV."""
        self.tables: list[list[int]] = [[] for _ in range(num_sequences)]
        self.lengths = [0] * num_sequences
        self.changed: set[int] = set()  # sequences whose tables differ from the device's
        self._owners = [0] * count
        self._owners[DUMP] = 1
        self._free = list(range(count - 1, DUMP, -1))
        self._copy = copy

    @property
    def num_free(self) -> int:
        """Pages that belong to nobody."""
        return len(self._free)

    def reserve(self, wanted: Iterable[tuple[int, int]]) -> None:
        """Make room for each (sequence, end) so that all positions from its length to `end` may be written.

        Raises EngineFailure where pages run out; nothing was taken then.
        """
        wanted = list(wanted)
        if sum(self._num_missing(sequence, end) for sequence, end in wanted) > len(self._free):
            raise EngineFailure("no page of KV is left")
        for sequence, end in wanted:
            self._reserve(sequence, end)

    def _num_missing(self, sequence: int, end: int) -> int:
        """Return the pages to take, at most: of two that share a page, only the first to write needs a copy."""
        return max(0, -(-end // PAGE) - len(self.tables[sequence])) + self._must_copy(sequence, end)

    def _must_copy(self, sequence: int, end: int) -> bool:
        """Return whether the first page that is written into belongs to others, too. Later ones are always own."""
        table, first = self.tables[sequence], self.lengths[sequence] // PAGE
        return end > self.lengths[sequence] and first < len(table) and self._owners[table[first]] > 1

    def _reserve(self, sequence: int, end: int) -> None:
        table, first = self.tables[sequence], self.lengths[sequence] // PAGE
        if self._must_copy(sequence, end):
            shared, table[first] = table[first], self._take()
            self._copy(shared, table[first])
            self._owners[shared] -= 1
            self.changed.add(sequence)
        while len(table) * PAGE < end:
            table.append(self._take())
            self.changed.add(sequence)

    def _take(self) -> int:
        page = self._free.pop()
        self._owners[page] = 1
        return page

    def trim(self, sequence: int, to: int) -> None:
        """Keep the first `to` positions at most."""
        self.lengths[sequence] = min(self.lengths[sequence], to)
        table = self.tables[sequence]
        while len(table) > -(-self.lengths[sequence] // PAGE):
            page = table.pop()
            self._owners[page] -= 1
            if not self._owners[page]:
                self._free.append(page)
            self.changed.add(sequence)

    def fork(self, source: int, target: int, to: int) -> None:
        """Let `target`, which is empty, share the first `to` positions of `source`."""
        assert not self.lengths[target], f"sequence {target} is not empty"
        assert to <= self.lengths[source], f"sequence {source} holds {self.lengths[source]} positions, not {to}"
        self.trim(target, 0)  # pages reserved for a step that failed
        self.tables[target] = self.tables[source][: -(-to // PAGE)]
        for page in self.tables[target]:
            self._owners[page] += 1
        self.lengths[target] = to
        self.changed.add(target)
