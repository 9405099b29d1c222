"""The ledger of the context's KV cells. Invariant: free + leased = total; what forks share counts once."""


class _Run:
    """Consecutive cells held by the same slots."""

    __slots__ = ("length", "num_holders")

    def __init__(self, length: int, num_holders: int = 1) -> None:
        self.length = length
        self.num_holders = num_holders


class Cells:
    """Counts the cells that live sequences lease. Growing a lease is O(1), forking O(slots)."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.num_leased = 0
        self._runs: dict[int, list[_Run]] = {}
        self._lengths: dict[int, int] = {}

    @property
    def num_free(self) -> int:
        """Cells that no sequence leases."""
        return self.total - self.num_leased

    def length(self, slot: int) -> int:
        """Return how many cells `slot` leases."""
        return self._lengths.get(slot, 0)

    def lease(self, slot: int, num_cells: int) -> None:
        """Set the lease of `slot` to `num_cells`; the caller has checked that they fit."""
        length = self._lengths.get(slot, 0)
        if num_cells < length:
            self._shrink(slot, num_cells)
        elif num_cells > length:
            self._grow(slot, num_cells - length)
        self._lengths[slot] = num_cells
        assert self.num_leased <= self.total, "more cells leased than exist"

    def fork(self, source: int, target: int, num_cells: int) -> None:
        """Let `target`, which leases nothing, share the first `num_cells` cells of `source`."""
        assert not self._lengths.get(target), "a fork goes into an empty slot"
        assert num_cells <= self._lengths.get(source, 0), "a fork of more than there is"
        shared = self._runs.get(source, [])[: self._split(source, num_cells)]
        for run in shared:
            run.num_holders += 1
        self._runs[target] = list(shared)
        self._lengths[target] = num_cells

    def release(self, slot: int) -> None:
        """End the lease of `slot`."""
        self.lease(slot, 0)
        self._runs.pop(slot, None)
        self._lengths.pop(slot, None)

    def _grow(self, slot: int, num_cells: int) -> None:
        runs = self._runs.setdefault(slot, [])
        if runs and runs[-1].num_holders == 1:
            runs[-1].length += num_cells
        else:
            runs.append(_Run(num_cells))
        self.num_leased += num_cells

    def _shrink(self, slot: int, num_cells: int) -> None:
        runs = self._runs[slot]
        kept = self._split(slot, num_cells)
        for run in runs[kept:]:
            run.num_holders -= 1
            if not run.num_holders:
                self.num_leased -= run.length
        del runs[kept:]

    def _split(self, slot: int, at: int) -> int:
        """Make a run of `slot` end at cell `at`, for all who hold it; return how many runs come before `at`."""
        end = 0
        for index, run in enumerate(self._runs.get(slot, [])):
            if end >= at:
                return index
            end += run.length
            if end > at:
                rest = _Run(end - at, run.num_holders)
                run.length -= rest.length
                for runs in self._runs.values():
                    if run in runs:
                        runs.insert(runs.index(run) + 1, rest)
                return index + 1
        return len(self._runs.get(slot, []))
