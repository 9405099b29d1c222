"""Pages against a plain model in which every sequence has a copy of its own."""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from firesteel.backend.cuda.pages import DUMP, PAGE, Pages, num_pages
from firesteel.errors import EngineFailure

SEQUENCES = 4
COUNT = 14
sequences = st.integers(0, SEQUENCES - 1)


class PagesAgainstLists(RuleBasedStateMachine):
    """What is written at a position stays there for whoever has it, and all pages are free or owned."""

    def __init__(self) -> None:
        super().__init__()
        self.memory: dict[int, dict[int, int]] = {page: {} for page in range(COUNT)}  # page → offset → value
        self.pages = Pages(COUNT, SEQUENCES, self.copy)
        self.lists: list[list[int]] = [[] for _ in range(SEQUENCES)]
        self.next = 0

    def copy(self, source: int, target: int) -> None:
        self.memory[target] = dict(self.memory[source])

    @rule(sequence=sequences, count=st.integers(1, 3 * PAGE))
    def write(self, sequence: int, count: int) -> None:
        start = len(self.lists[sequence])
        free = self.pages.num_free
        try:
            self.pages.reserve([(sequence, start + count)])
        except EngineFailure:
            assert self.pages.num_free == free
            return
        for position in range(start, start + count):
            page = self.pages.tables[sequence][position // PAGE]
            assert page != DUMP
            self.memory[page][position % PAGE] = self.next
            self.lists[sequence].append(self.next)
            self.next += 1
        self.pages.lengths[sequence] = start + count

    @rule(sequence=sequences, count=st.integers(1, 2 * PAGE))
    def reserve_and_fail(self, sequence: int, count: int) -> None:
        """A step that failed after its pages were reserved."""
        if self.pages.num_free >= 4:
            self.pages.reserve([(sequence, len(self.lists[sequence]) + count)])

    @rule(sequence=sequences, share=st.floats(0, 1))
    def trim(self, sequence: int, share: float) -> None:
        to = int(share * len(self.lists[sequence]))
        self.pages.trim(sequence, to)
        del self.lists[sequence][to:]

    @precondition(lambda self: any(not one for one in self.lists))
    @rule(source=sequences, share=st.floats(0, 1))
    def fork(self, source: int, share: float) -> None:
        target = next(index for index, one in enumerate(self.lists) if not one)
        if target == source:
            return
        to = int(share * len(self.lists[source]))
        self.pages.fork(source, target, to)
        self.lists[target] = self.lists[source][:to]

    @invariant()
    def everybody_reads_what_was_written(self) -> None:
        for sequence, expected in enumerate(self.lists):
            table = self.pages.tables[sequence]
            found = [self.memory[table[at // PAGE]][at % PAGE] for at in range(len(expected))]
            assert found == expected
            assert self.pages.lengths[sequence] == len(expected)

    @invariant()
    def free_and_owned_pages_are_all_pages(self) -> None:
        owned = {page for table in self.pages.tables for page in table}
        assert self.pages.num_free + len(owned) == COUNT - 1
        assert DUMP not in owned

    def teardown(self) -> None:
        for sequence in range(SEQUENCES):
            self.pages.trim(sequence, 0)
        assert self.pages.num_free == COUNT - 1


TestPages: Any = PagesAgainstLists.TestCase
TestPages.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_a_batch_that_finds_too_few_pages_takes_none() -> None:
    pages = Pages(4, 3, lambda source, target: None)
    pages.reserve([(0, PAGE)])
    with pytest.raises(EngineFailure, match="no page of KV is left"):
        pages.reserve([(1, PAGE), (2, 2 * PAGE)])
    assert pages.num_free == 2
    assert pages.tables[1] == []


def test_a_page_is_copied_only_when_it_is_written_into() -> None:
    copied = []
    pages = Pages(10, 2, lambda source, target: copied.append((source, target)))
    pages.reserve([(0, PAGE + 5)])
    pages.lengths[0] = PAGE + 5
    pages.fork(0, 1, PAGE + 5)
    assert not copied
    assert pages.num_free == 7
    pages.reserve([(0, PAGE + 6), (1, PAGE + 6)])
    assert len(copied) == 1
    assert pages.num_free == 6


def test_every_cell_can_be_used_whatever_is_shared() -> None:
    assert num_pages(1024, 4) == 1 + 16 + 12
