"""The ledger of the context's KV cells. Invariant: free + leased = total."""


class Cells:
    """Counts the cells that each live sequence leases. Shared cells of a fork are counted for both: safe."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._leased: dict[int, int] = {}
        self.num_leased = 0

    @property
    def num_free(self) -> int:
        """Cells that no sequence leases."""
        return self.total - self.num_leased

    def lease(self, slot: int, num_cells: int) -> None:
        """Set the lease of `slot` to `num_cells`; the caller has checked that they fit."""
        self.num_leased += num_cells - self._leased.get(slot, 0)
        self._leased[slot] = num_cells
        assert self.num_leased <= self.total, "more cells leased than exist"

    def release(self, slot: int) -> None:
        """End the lease of `slot`."""
        self.num_leased -= self._leased.pop(slot, 0)
