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


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(samplings, min_size=1, max_size=5),
    vocabulary=st.integers(2, 400),
    spread=st.sampled_from([0.1, 1.0, 5.0]),
    noise=st.integers(0, 1 << 30),
    position=st.integers(0, 1000),
)
def test_it_chooses_what_the_engine_chooses(
    rows: list[Sampling], vocabulary: int, spread: float, noise: int, position: int
) -> None:
    random = np.random.default_rng(noise)
    logits = (random.standard_normal((len(rows), vocabulary)) * spread).astype(np.float32)
    numbers = torch.tensor([uniform(one.seed or 0, position) for one in rows], dtype=torch.float64)
    found = sample.choose(torch.from_numpy(logits), sample.settings(list(rows), "cpu"), numbers).tolist()
    expected = [Sampler(one).choose(row.copy(), position) for one, row in zip(rows, logits, strict=True)]
    assert found == expected


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_invalid_numbers_are_told(number: float) -> None:
    logits = torch.zeros((2, 9))
    logits[1, 4] = number
    chosen = sample.settings([None, Sampling(temperature=1.0)], "cpu")
    assert sample.choose(logits, chosen, torch.tensor([0.5, 0.5])).tolist()[1] == -1


def test_the_last_quantile_is_a_token_that_has_a_weight() -> None:
    weights = torch.tensor([[0.25, 0.75, 0.0, 0.0]], dtype=torch.float64)
    assert sample.at_quantile(weights, torch.tensor([1.0])).tolist() == [1]
