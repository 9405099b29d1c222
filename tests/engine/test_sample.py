import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firesteel.backend.base import Want, uniform
from firesteel.engine.sample import Sampler, draw, logprob_of, nucleus, survivors
from firesteel.types import Sampling


def reference(logits: npt.NDArray[np.float32], sampling: Sampling) -> dict[int, float]:
    """The slow twin: full-width float64 softmax, full sort, filters in the documented order."""
    scores = logits.astype(np.float64) / sampling.temperature
    probabilities = np.exp(scores - scores.max())
    order = sorted(range(len(logits)), key=lambda token: (-probabilities[token], token))
    if sampling.min_p:
        order = [token for token in order if probabilities[token] >= sampling.min_p]
    if sampling.top_k:
        order = order[: sampling.top_k]
    kept, total, whole = [], 0.0, sum(probabilities[order])
    for token in order:
        kept.append(token)
        total += probabilities[token]
        if total >= sampling.top_p * whole:
            break
    return {token: probabilities[token] / total for token in kept}


settings = st.builds(
    Sampling,
    temperature=st.floats(0.05, 2.0),
    top_k=st.integers(0, 12),
    top_p=st.floats(0.05, 1.0),
    min_p=st.sampled_from([0.0, 0.01, 0.2]),
)


@given(st.integers(0, 2**32 - 1), settings, st.floats(0.3, 6.0))
def test_filters_equal_the_slow_twin(seed: int, sampling: Sampling, spread: float) -> None:
    logits = np.random.default_rng(seed).normal(0, spread, 300).astype(np.float32)
    expected = reference(logits, sampling)
    tokens, weights = survivors(logits, sampling)
    if sampling.top_p < 1:
        tokens, weights = nucleus(tokens, weights, sampling.top_p)
    found = dict(zip(tokens.tolist(), (weights / weights.sum(dtype=np.float64)).tolist(), strict=True))
    # At the very edge of top-p or min-p, rounding may keep or drop a token of the least weight that is kept.
    for token in found.keys() ^ expected.keys():
        probability = found.get(token, expected.get(token, 0.0))
        assert probability <= 1e-6 or probability <= min(expected.values()) * (1 + 1e-3)
    if found.keys() == expected.keys():
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-9)


@given(st.integers(0, 2**32 - 1), settings, st.floats(0.0, 0.999999))
def test_draw_takes_the_token_at_its_quantile(seed: int, sampling: Sampling, random: float) -> None:
    logits = np.random.default_rng(seed).normal(0, 3, 300).astype(np.float32)
    tokens, weights = survivors(logits, sampling)
    if sampling.top_p < 1:
        tokens, weights = nucleus(tokens, weights, sampling.top_p)
    index = tokens.tolist().index(draw(logits, sampling, random))
    quantiles = np.cumsum(weights / weights.sum(dtype=np.float64))
    assert (quantiles[index - 1] if index else 0.0) - 1e-6 <= random <= quantiles[index] + 1e-6


def test_sampled_frequencies_match_the_distribution() -> None:
    """Chi-square with 19 degrees of freedom: a false alarm has odds below 1 in a million at 70."""
    logits = np.linspace(0, 4, 20).astype(np.float32)
    sampling = Sampling(temperature=1.0, top_p=1.0)
    expected = reference(logits, sampling)
    draws = 20_000
    counts = np.zeros(20)
    for position in range(draws):
        counts[draw(logits, sampling, uniform(7, position))] += 1
    statistic = sum((counts[t] - draws * p) ** 2 / (draws * p) for t, p in expected.items())
    assert statistic < 70


@given(st.integers(0, 2**64 - 1), st.integers(0, 10**6))
def test_uniform_is_a_function_of_seed_and_position(seed: int, position: int) -> None:
    assert uniform(seed, position) == uniform(seed, position)
    assert 0.0 <= uniform(seed, position) < 1.0


def test_greedy_wants_only_the_best_token_unless_something_needs_the_logits() -> None:
    assert Sampler(Sampling(temperature=0)).want is Want.BEST
    for changed in (
        Sampling(temperature=0.5),
        Sampling(temperature=0, logit_bias=((1, 2.0),)),
        Sampling(temperature=0, presence_penalty=0.5),
        Sampling(temperature=0, num_logprobs=0),
    ):
        assert Sampler(changed).want is Want.LOGITS


def test_bias_and_penalties_change_the_choice() -> None:
    logits = np.array([1.0, 2.0, 3.0], dtype=np.float32)
    biased = Sampler(Sampling(temperature=0, logit_bias=((2, -100.0),)))
    assert biased.choose(logits, 0) == 1
    penalised = Sampler(Sampling(temperature=0, presence_penalty=0.6, frequency_penalty=0.6))
    assert [penalised.choose(logits, i) for i in range(5)] == [2, 1, 2, 2, 0]
    assert logits.tolist() == [1.0, 2.0, 3.0]


@given(st.integers(0, 2**32 - 1), st.integers(0, 20))
def test_logprobs_equal_a_full_log_softmax(seed: int, num_top: int) -> None:
    logits = np.random.default_rng(seed).normal(0, 5, 100).astype(np.float32)
    exact = logits.astype(np.float64)
    exact -= exact.max() + math.log(np.exp(exact - exact.max()).sum())
    found = logprob_of(17, logits, num_top)
    assert found.logprob == pytest.approx(exact[17], abs=1e-4)
    assert [token for token, _ in found.top] == list(np.argsort(-exact, kind="stable")[:num_top])
    assert [value for _, value in found.top] == pytest.approx(list(np.sort(exact)[::-1][:num_top]), abs=1e-4)


def test_the_cut_drops_only_what_weighs_nothing() -> None:
    logits = np.random.default_rng(1).normal(0, 4, 150_000).astype(np.float32)
    sampling = Sampling(temperature=0.8, top_p=1.0)
    tokens, weights = survivors(logits, sampling)
    full = np.exp((logits.astype(np.float64) - logits.max()) / 0.8).sum()
    assert weights.sum(dtype=np.float64) == pytest.approx(full, rel=1e-5)
    assert len(tokens) <= len(logits)
