"""The tree of outcomes: it grows where it will most likely be needed, and finds what was prepared."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firesteel.engine.draft.base import num_common
from firesteel.engine.draft.lines import Line, Slot
from firesteel.engine.draft.outcomes import Limits, Node, Outcomes, likeliest
from firesteel.errors import EngineFailure

END = frozenset({0})
FAR = Limits(depth=10, width=2, min_chance=0.05)


def tree(*said: tuple[tuple[int, ...], list[tuple[int, float]]]) -> Outcomes:
    """Return a tree in which the draft model has said something after each of some paths."""
    outcomes = Outcomes(END)
    for path, options in said:
        node = outcomes.root
        for token in path:
            node = node.children.setdefault(token, Node())
        node.options = options
    return outcomes


def path_of(outcomes: Outcomes, limits: Limits = FAR) -> tuple[int, ...] | None:
    found = outcomes.next(limits, 16)
    return found.path if found is not None else None


def test_what_is_known_comes_first_then_the_likeliest_path() -> None:
    assert path_of(Outcomes(END)) == ()
    outcomes = tree(((), [(5, 0.6), (6, 0.3)]))
    assert path_of(outcomes) == (5,)
    outcomes.root.children[5].options = [(7, 0.4), (8, 0.3)]  # 0.24 and 0.18, against 0.3
    assert path_of(outcomes) == (6,)


def test_the_tree_stops_at_its_limits_and_at_end_tokens() -> None:
    outcomes = tree(((), [(5, 0.6), (0, 0.39)]))
    assert path_of(outcomes, Limits(depth=1, width=2, min_chance=0)) is None
    assert path_of(outcomes, Limits(depth=5, width=2, min_chance=0.7)) is None
    assert path_of(tree(((), [(0, 0.9), (5, 0.1)]))) == (5,)
    assert path_of(tree(((), [(0, 0.9), (5, 0.1)])), FAR._replace(width=1)) is None


def test_a_draft_under_verification_comes_along_in_one_step() -> None:
    """All its nodes, up to where it is unlikely to be accepted; then the likeliest rejection."""
    outcomes = tree(((), [(5, 0.9), (6, 0.1)]))
    outcomes.assume([5, 9, 9, 9], [0.8, 0.7, 0.9, 0.01])
    found = outcomes.next(FAR, 16)
    assert found is not None
    assert (found.path, len(found.nodes)) == ((5, 9, 9), 3)
    for node in found.nodes:
        node.options = [(0, 0.9), (0, 0.1)]
    assert path_of(outcomes) == (6,)  # 0.2: the first token is rejected, the second best comes


def test_what_came_true_is_kept_and_the_rest_dropped() -> None:
    outcomes = tree(((), [(5, 0.9), (6, 0.1)]), ((5,), [(7, 0.8), (8, 0.1)]), ((6,), [(9, 0.5), (1, 0.2)]))
    assert outcomes.best(8) == [(5, 0.9), (7, 0.8)]
    assert outcomes.best(1) == [(5, 0.9)]
    outcomes.advance([6])
    assert outcomes.best(8) == [(9, 0.5)]
    outcomes.advance([4])
    assert outcomes.best(8) == []


@given(st.lists(st.floats(-20, 20, width=32), min_size=2, max_size=50))
def test_the_two_likeliest_tokens_have_their_softmax_probabilities(values: list[float]) -> None:
    logits = np.array(values, dtype=np.float32)
    expected = np.exp(logits.astype(np.float64) - logits.max())
    expected /= expected.sum()
    (first, chance), (second, rest) = likeliest(logits.copy())
    assert chance == pytest.approx(expected.max(), rel=1e-4)
    assert rest == pytest.approx(np.sort(expected)[-2], rel=1e-3, abs=1e-9)
    assert expected[first] == expected.max()
    assert first != second or len(values) < 2


def test_logits_that_are_not_numbers_are_a_failure() -> None:
    with pytest.raises(EngineFailure):
        likeliest(np.full(8, np.nan, dtype=np.float32))


@given(st.lists(st.integers(0, 2), max_size=40), st.lists(st.integers(0, 2), max_size=40))
def test_common_beginnings(one: list[int], other: list[int]) -> None:
    slow = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    assert num_common(one, other) == slow


@given(st.lists(st.integers(1, 3), min_size=1, max_size=30), st.data())
def test_a_slot_always_comes_to_hold_what_is_known(known: list[int], data: st.DataObject) -> None:
    """From whatever it holds, in steps of few rows, its rows continue what it keeps."""
    line, slot = Line(known, END), Slot(0)
    slot.held = data.draw(st.lists(st.integers(1, 3), max_size=40))
    slot.give(line)
    line.limits, line.num_left = FAR, 8
    for _ in range(40):
        frontier = line.frontier(4)
        if frontier is None:
            break
        job = slot.job(line, frontier, 4)
        assert job.start <= len(slot.held)
        assert [*slot.held[: job.start], *job.tokens] == [*known, *frontier.path][: job.end]
        slot.held = [*slot.held[: job.start], *job.tokens]
        line.num_left -= len(job.nodes)
        for node in job.nodes:
            node.options = [(1, 0.6), (2, 0.4)]
    else:
        raise AssertionError("it does not come to an end")
    assert line.lag == 0
    assert slot.held[: len(known)] == known
