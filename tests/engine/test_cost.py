from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firesteel.engine.cost import StepCost


@given(st.floats(1e-3, 0.05), st.floats(1e-4, 0.02), st.floats(0.02, 0.5))
def test_rows_within_follows_a_linear_machine(base: float, per_row: float, limit: float) -> None:
    cost = StepCost()
    for _ in range(20):
        for rows in (1, 2, 4, 8, 16, 32, 64, 128):
            cost.observe(rows, base + per_row * rows)
    rows = cost.rows_within(limit, default=0)
    exact = (limit - base) / per_row
    assert rows >= 1
    if 1 <= exact <= 128:
        assert exact - 1.5 <= rows <= exact + 1.5


@given(st.lists(st.tuples(st.integers(1, 600), st.floats(1e-7, 2)), min_size=1), st.integers(1, 600), st.integers(0, 9))
def test_no_step_is_ever_free(steps: list[tuple[int, float]], num_rows: int, count: int) -> None:
    """Whoever divides by a cost relies on it; a large step that was cheap says little about a small one."""
    cost = StepCost()
    for rows, seconds in steps:
        cost.observe(rows, seconds)
    curve = cost.curve(num_rows, count)
    assert len(curve) == count + 1
    assert min(curve) > 0
    assert curve == sorted(curve)


STEPS = st.tuples(st.integers(1, 600), st.floats(1e-9, 1e3))


@given(st.lists(STEPS | st.floats(0, 1), max_size=80), st.integers(1, 600))
def test_whatever_was_seen_and_forgotten_the_costs_stay_numbers(acts: list[Any], row: int) -> None:
    cost = StepCost()
    for act in acts:
        if isinstance(act, float):
            cost.forget(row, act)
        else:
            cost.observe(*act)
    assert all(0 < seconds < 1e12 for seconds in cost.curve(row, 5))
    assert cost.rows_within(0.06, default=16) >= 1


def test_default_before_any_step() -> None:
    assert StepCost().rows_within(1.0, default=16) == 16


def test_one_row_where_a_single_row_is_too_dear() -> None:
    cost = StepCost()
    cost.observe(1, 0.5)
    assert cost.rows_within(0.1, default=16) == 1


def test_one_stall_does_not_shrink_the_budget_for_good() -> None:
    def seconds(rows: int) -> float:
        return 0.03 + 0.0009 * rows

    cost = StepCost()
    cost.observe(1, seconds(1))
    cost.observe(33, 0.8)
    for _ in range(400):
        rows = cost.rows_within(0.06, default=16)
        cost.observe(rows, seconds(rows))
    assert cost.rows_within(0.06, default=16) >= 25


@given(
    st.lists(st.tuples(st.integers(1, 60), st.floats(0.001, 0.2), st.integers(0, 3000)), min_size=1, max_size=40),
    st.integers(1, 20),
    st.integers(0, 50),
)
def test_a_curve_is_the_cost_of_each_size_never_falling(
    steps: list[tuple[int, float, int]], num_rows: int, count: int
) -> None:
    cost = StepCost()
    for rows, seconds, history in steps:
        cost.observe(rows, seconds, history)
    slow, highest = [], 0.0
    for rows in range(num_rows, num_rows + count + 1):
        highest = max(highest, cost.seconds(rows, 500))
        slow.append(highest)
    assert cost.curve(num_rows, count, 500) == pytest.approx(slow)
