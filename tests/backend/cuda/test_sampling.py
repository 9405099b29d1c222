"""Sampling on the device against the engine's sampler, given the same random numbers."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from firesteel.backend.base import uniform
from firesteel.backend.cuda import sample
from firesteel.engine.sample import Sampler
from firesteel.types import Sampling

samplings = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 0.2, 1.0, 2.0]),
    top_k=st.sampled_from([0, 1, 5, 50]),
    top_p=st.sampled_from([1.0, 0.95, 0.5, 0.1]),
    min_p=st.sampled_from([0.0, 0.05, 0.5]),
    seed=st.integers(0, 1 << 40),
)


@settings(max_examples=300, deadline=None)
@given(
    rows=st.lists(samplings, min_size=1, max_size=5),
    vocabulary=st.integers(2, 700),
    ordered=st.sampled_from([0, sample.ALL]),
    spread=st.sampled_from([0.1, 1.0, 5.0]),
    noise=st.integers(0, 1 << 30),
    position=st.integers(0, 1000),
)
def test_it_chooses_what_the_engine_chooses(
    rows: list[Sampling], vocabulary: int, ordered: int, spread: float, noise: int, position: int
) -> None:
    random = np.random.default_rng(noise)
    logits = (random.standard_normal((len(rows), vocabulary)) * spread).astype(np.float32)
    numbers = torch.tensor([uniform(one.seed or 0, position) for one in rows], dtype=torch.float64)
    ordered = max(ordered, sample.num_ordered(list(rows)))  # what they need, or more
    found = sample.choose(torch.from_numpy(logits), sample.settings(list(rows), "cpu"), numbers, ordered).tolist()
    expected = [Sampler(one).choose(row.copy(), position) for one, row in zip(rows, logits, strict=True)]
    assert found == expected


@pytest.mark.parametrize("ordered", [0, sample.SHORT, sample.ALL])
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_invalid_numbers_are_told(number: float, ordered: int) -> None:
    logits = torch.zeros((2, 300))
    logits[1, 4] = number
    chosen = sample.settings([None, Sampling(temperature=1.0)], "cpu")
    assert sample.choose(logits, chosen, torch.tensor([0.5, 0.5]), ordered).tolist()[1] == -1


def test_the_last_quantile_is_a_token_that_has_a_weight() -> None:
    weights = torch.tensor([[0.25, 0.75, 0.0, 0.0]], dtype=torch.float64)
    assert sample.at_quantile(weights, torch.tensor([1.0])).tolist() == [1]


@given(noise=st.integers(0, 1 << 30), levels=st.sampled_from([1, 3, 1000]), count=st.integers(1, 60))
def test_the_heaviest_are_the_first_of_all_in_order(noise: int, levels: int, count: int) -> None:
    weights = np.random.default_rng(noise).integers(0, levels, (3, 60)).astype(np.float32) / levels
    values, tokens = sample.heaviest(torch.from_numpy(weights), count)
    expected = np.argsort(-weights, kind="stable", axis=-1)[:, :count]
    assert tokens.tolist() == expected.tolist()
    assert values.tolist() == np.take_along_axis(weights, expected, -1).tolist()


def test_no_more_is_put_in_order_than_settings_ask_for() -> None:
    free, short = Sampling(temperature=1.0, top_p=1.0), Sampling(temperature=1.0, top_k=sample.SHORT, top_p=0.9)
    long, greedy = Sampling(temperature=1.0, top_k=sample.SHORT + 1), Sampling(temperature=0.0, top_p=0.5)
    assert sample.num_ordered([None, free, greedy]) == 0
    assert sample.num_ordered([short, free, None]) == sample.SHORT
    assert sample.num_ordered([short, long]) == sample.num_ordered([Sampling(temperature=1.0)]) == sample.ALL
