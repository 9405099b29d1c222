"""The arbiter against simulated cost curves."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firesteel.engine.cost import SIZES, StepCost
from firesteel.engine.draft.arbiter import MARGIN, Arbiter
from firesteel.engine.draft.base import Draft
from firesteel.engine.draft.calibration import Calibration
from firesteel.engine.draft.drafting import AVOIDED, LEAST


def curve(base: float, per_row: float, knee: int, beyond: float) -> list[float]:
    """Seconds of steps of 0, 1, 2, … rows: flat to the knee, then `beyond` a row more."""
    return [base + per_row * min(rows, knee) + beyond * max(0, rows - knee) for rows in range(65)]


def learned(seconds: list[float]) -> StepCost:
    cost = StepCost()
    for _ in range(30):
        for rows in SIZES[: SIZES.index(64) + 1]:
            cost.observe(rows, seconds[rows])
    return cost


def sure(chance: float) -> Calibration:
    return Calibration(lambda source, evidence: chance)


def draft(source: str, length: int) -> Draft:
    return Draft(source, list(range(length)), [0] * length)


def rates(seconds: list[float], chance: float, length: int) -> list[float]:
    """The slow twin: tokens a second for each length."""
    found, expected, product = [], 0.0, 1.0
    for k in range(length + 1):
        expected += product
        product *= chance
        found.append(expected / seconds[1 + k])
    return found


@settings(max_examples=200, deadline=None)
@given(
    st.floats(0.005, 0.05),
    st.floats(0, 0.003),
    st.sampled_from([size for size in SIZES if size <= 40]),
    st.floats(0.0005, 0.03),
    st.floats(0.05, 0.999),
    st.integers(1, 48),
)
def test_it_finds_a_length_as_good_as_the_best(
    base: float, per_row: float, knee: int, beyond: float, chance: float, length: int
) -> None:
    """Within the margin for drafting at all, where the curve has its knee at a size that was seen."""
    seconds = curve(base, per_row, knee, beyond)
    arbiter = Arbiter(learned(seconds))
    chosen, _ = arbiter.choose([draft("ngram", length)], sure(chance), num_rows=1, num_tokens=0, max_tokens=length)
    rate = rates(seconds, chance, length)
    found = rate[len(chosen.tokens) if chosen is not None else 0]
    assert found >= 0.95 * max(rate)
    assert found >= 0.98 * rate[0]
    if chosen is None:
        assert max(rate) <= 1.02 * MARGIN * rate[0]


def test_it_stops_drafting_when_drafting_loses() -> None:
    steep = learned(curve(0.0, 0.0, 0, 0.02))
    chosen, expected = Arbiter(steep).choose([draft("ngram", 8)], sure(0.9), num_rows=1, num_tokens=0, max_tokens=8)
    assert chosen is None
    assert expected == 1.0


def test_the_likelier_source_wins_and_the_length_grows_with_the_chance() -> None:
    arbiter = Arbiter(learned(curve(0.02, 0.004, 64, 0.004)))
    chances = {"ngram": 0.6, "prediction": 0.9, "suffix": 0.3}
    calibration = Calibration(lambda source, evidence: chances[source])
    drafts = [draft(source, 40) for source in chances]
    chosen, expected = arbiter.choose(drafts, calibration, num_rows=1, num_tokens=0, max_tokens=40)
    assert chosen is not None
    assert chosen.source == "prediction"
    assert expected > 2
    lengths = []
    for chance in (0.5, 0.8, 0.95, 0.99):
        chosen, _ = arbiter.choose([draft("ngram", 40)], sure(chance), num_rows=1, num_tokens=0, max_tokens=40)
        lengths.append(len(chosen.tokens) if chosen is not None else 0)
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[-1]


def test_other_streams_that_share_the_step_make_drafts_dearer() -> None:
    """A row costs the others time, too: beside many streams the same draft does not pay any more."""
    arbiter = Arbiter(learned(curve(0.02, 0.0, 0, 0.004)))
    alone, _ = arbiter.choose([draft("ngram", 8)], sure(0.6), num_rows=1, num_tokens=0, max_tokens=8)
    beside, _ = arbiter.choose([draft("ngram", 8)], sure(0.6), num_rows=17, num_tokens=0, others=16, max_tokens=8)
    assert alone is not None
    assert beside is None


def test_history_makes_rows_dearer() -> None:
    cost = StepCost()
    for _ in range(30):
        for rows in SIZES[: SIZES.index(64) + 1]:
            for history in (0, 8192):
                cost.observe(rows, 0.02 + rows * (0.001 + 0.02 * history / 8192), history)
    arbiter = Arbiter(cost)
    near, _ = arbiter.choose([draft("ngram", 16)], sure(0.8), num_rows=1, num_tokens=100, max_tokens=16)
    far, _ = arbiter.choose([draft("ngram", 16)], sure(0.8), num_rows=1, num_tokens=8192, max_tokens=16)
    assert near is not None
    assert far is None or len(far.tokens) < len(near.tokens)


def test_a_clock_that_stands_still_makes_every_draft_welcome() -> None:
    cost = StepCost()
    cost.observe(1, 0.0)
    chosen, _ = Arbiter(cost).choose([draft("ngram", 16)], sure(0.3), num_rows=1, num_tokens=0, max_tokens=16)
    assert chosen is not None
    assert len(chosen.tokens) == 16


def simulated(cost: StepCost, seconds: list[float], chance: float, num_steps: int) -> float:
    """Return the speed by that without drafts, over steps in which a draft of 48 tokens is always at hand."""
    chooser, arbiter, known = random.Random(1), Arbiter(cost), sure(chance)
    spent, num_tokens = 0.0, 0
    for _ in range(num_steps):
        chosen, _ = arbiter.choose([draft("ngram", 48)], known, num_rows=1, num_tokens=500, max_tokens=48)
        length, right = len(chosen.tokens) if chosen is not None else 0, 0
        while right < length and chooser.random() < chance:
            right += 1
        cost.observe(1 + length, seconds[1 + length], 500)
        if not length:
            cost.forget(2, AVOIDED, LEAST)
        spent, num_tokens = spent + seconds[1 + length], num_tokens + right + 1
    return num_tokens / spent * seconds[1]


@pytest.mark.parametrize("num_plain", [0, 500, 3_000, 20_000])
@pytest.mark.parametrize("chance", [0.02, 0.3, 0.6])
def test_long_plain_spells_do_not_make_drafts_look_free(num_plain: int, chance: float) -> None:
    """Each size is tried again once in a while, at a bounded price: never 3 % slower than plain."""
    seconds = curve(0.017, 0.0, 0, 0.003)
    cost = learned(seconds)
    for _ in range(num_plain):
        cost.observe(1, seconds[1], 500)
        cost.forget(2, AVOIDED, LEAST)
    best = max(rates(seconds, chance, 48)) * seconds[1]
    found = simulated(cost, seconds, chance, 2_000)
    assert found >= 0.97
    assert found >= 0.93 * best


@pytest.mark.parametrize("stall", [1.0, 2.0, 3.0, 10.0])
def test_a_stall_in_the_first_draft_does_not_end_drafting(stall: float) -> None:
    seconds = curve(0.017, 0.0, 0, 0.003)
    cost = StepCost()
    for _ in range(20):
        cost.observe(1, seconds[1], 500)
    cost.observe(2, stall * seconds[2], 500)
    best = max(rates(seconds, 0.7, 48)) * seconds[1]
    simulated(cost, seconds, 0.7, 1_000)
    assert simulated(cost, seconds, 0.7, 1_000) >= 0.9 * best


FREE = [0.009, 0.009, 0.009, 0.0119, *(0.0119 + 0.0033 * more for more in range(1, 62))]  # by rows; two cost as one


def lengths_chosen(cost: StepCost, seconds: list[float], chance: float, num_steps: int) -> list[int]:
    """Return the lengths that are chosen in the course of some steps, in which a draft of 4 tokens is at hand."""
    arbiter, found = Arbiter(cost), []
    for _ in range(num_steps):
        chosen, _ = arbiter.choose([draft("ngram", 4)], sure(chance), num_rows=1, num_tokens=200, max_tokens=4)
        length = len(chosen.tokens) if chosen is not None else 0
        cost.observe(1 + length, seconds[1 + length], 200)
        if not length:
            cost.forget(2, AVOIDED, LEAST)
        found.append(length)
    return found


def seen(sizes: tuple[int, ...], seconds: list[float]) -> StepCost:
    cost = StepCost()
    for _ in range(20):
        for rows in sizes:
            cost.observe(rows, seconds[rows], 200)
    return cost


@pytest.mark.parametrize("sizes", [(), (1,), (1, 4), (1, 8, 16), (4, 8)], ids=str)
@pytest.mark.parametrize("chance", [0.05, 0.1, 0.25])
def test_where_two_rows_are_free_even_a_weak_source_drafts_one_token(sizes: tuple[int, ...], chance: float) -> None:
    """At once: the second row is tried the first time that it is unknown and somebody proposes something."""
    found = lengths_chosen(seen(sizes, FREE), FREE, chance, 40)
    assert found[10:] == [1] * 30


@pytest.mark.parametrize("chance", [0.05, 0.1, 0.25])
def test_a_second_row_that_got_free_is_noticed(chance: float) -> None:
    """It looks cheaper each time that it is avoided, is tried, and then believed more than what was known of it."""
    before = [0.009, 0.009, 0.0135, 0.016, *(0.018 + 0.0033 * more for more in range(61))]
    found = lengths_chosen(seen((1, 2, 4, 8), before), FREE, chance, 600)
    assert found[400:] == [1] * 200


@pytest.mark.parametrize("chance", [0.01, 0.1, 0.25])
def test_a_dear_second_row_is_tried_rarely(chance: float) -> None:
    dear = [0.016, 0.016, *(0.024 + 0.006 * more for more in range(63))]
    found = lengths_chosen(seen((1,), dear), dear, chance, 1_000)
    assert sum(map(bool, found)) <= 10
