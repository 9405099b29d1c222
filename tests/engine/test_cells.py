from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from firesteel.engine.kv.cells import Cells

SLOTS = st.integers(0, 4)


class CellsAgainstSets(RuleBasedStateMachine):
    """The ledger beside a plain model: each slot is a list of cell numbers, shared cells have one number."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = Cells(10_000)
        self.held: dict[int, list[int]] = {slot: [] for slot in range(5)}
        self.next_cell = 0

    @rule(slot=SLOTS, length=st.integers(0, 40))
    def lease(self, slot: int, length: int) -> None:
        self.cells.lease(slot, length)
        held = self.held[slot]
        del held[length:]
        while len(held) < length:
            held.append(self.next_cell)
            self.next_cell += 1

    @rule(slot=SLOTS)
    def release(self, slot: int) -> None:
        self.cells.release(slot)
        self.held[slot] = []

    @precondition(lambda self: not all(self.held.values()))
    @rule(source=SLOTS, data=st.data())
    def fork(self, source: int, data: st.DataObject) -> None:
        target = data.draw(st.sampled_from([slot for slot, held in self.held.items() if not held]))
        if target == source:
            return
        length = data.draw(st.integers(0, len(self.held[source])))
        self.cells.fork(source, target, length)
        self.held[target] = self.held[source][:length]

    @invariant()
    def shared_cells_count_once(self) -> None:
        distinct = {cell for held in self.held.values() for cell in held}
        assert self.cells.num_leased == len(distinct)
        assert self.cells.num_free == self.cells.total - len(distinct)


CellsAgainstSets.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestCells = CellsAgainstSets.TestCase
