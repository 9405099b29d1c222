"""Law 1 under sampling: verified drafts have the distribution of plain sampling. A statistical test."""

import random
from math import log

import numpy as np
import pytest

from firesteel.backend.base import Logits, Output
from firesteel.engine.draft.base import Draft
from firesteel.engine.verify import Verifier
from firesteel.types import Sampling

NUM_DRAWS = 20_000
FALSE_ALARM = 1e-9
"""Chance that a test below fails although nothing is wrong.

By the inequality of Dvoretzky, Kiefer, Wolfowitz and Massart, an empirical distribution function of n draws is
further than ε from the true one with a chance of at most 2 exp(−2 n ε²), in any order of the outcomes.
"""
TOLERANCE = (log(2 / FALSE_ALARM) / (2 * NUM_DRAWS)) ** 0.5  # 0.023

VOCABULARY = 6
SAMPLINGS = [
    Sampling(temperature=1.0, top_p=1.0),
    Sampling(temperature=0.7, top_p=0.8),
    Sampling(temperature=1.3, top_k=4, top_p=1.0),
]


def logits_after(previous: int) -> Logits:
    """A model of its own for each previous token."""
    return np.random.default_rng(previous).normal(0, 1.5, VOCABULARY).astype(np.float32)


def chances_after(previous: int, how: Sampling) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The slow twin: temperature, top-k and top-p by sorting everything."""
    logits = logits_after(previous).astype(np.float64)
    weights = np.exp((logits - logits.max()) / how.temperature)
    order = np.argsort(-weights)
    if how.top_k:
        weights[order[how.top_k :]] = 0
    weights /= weights.sum()
    before = np.cumsum(weights[order]) - weights[order]
    weights[order[before >= how.top_p]] = 0
    return np.asarray(weights / weights.sum())


def drawn(distribution: dict[int, float], chooser: random.Random) -> int:
    return chooser.choices(list(distribution), list(distribution.values()))[0]


@pytest.mark.parametrize("how", SAMPLINGS)
@pytest.mark.parametrize("is_random", [True, False], ids=["drawn drafts", "fixed drafts"])
def test_pairs_of_tokens_are_distributed_as_without_drafts(how: Sampling, is_random: bool) -> None:
    """Two tokens: the first verified against a draft, the second taken from what the draft left, or drawn plainly."""
    proposals = {0: 0.5, 1: 0.2, 3: 0.3}
    chooser = random.Random(7)
    counts = np.zeros((VOCABULARY, VOCABULARY))
    for _ in range(NUM_DRAWS):
        verifier = Verifier(how, frozenset())
        token = drawn(proposals, chooser) if is_random else 1
        draft = Draft("model", [token], [5], [proposals] if is_random else [])
        tokens = verifier.verify(Output(logits=[logits_after(99), logits_after(token)]), 10, draft)
        if len(tokens) == 1:
            tokens += verifier.verify(Output(logits=[logits_after(tokens[0])]), 11, None)
        counts[tokens[0], tokens[1]] += 1
    first = chances_after(99, how)
    expected = np.concatenate([first[token] * chances_after(token, how) for token in range(VOCABULARY)])
    gap = np.abs(np.cumsum(counts.ravel() / NUM_DRAWS) - np.cumsum(expected)).max()
    assert gap <= TOLERANCE


def test_the_tolerance_would_notice_drafts_that_are_always_taken() -> None:
    """The test above can fail: a verifier that accepts whatever is drawn is further off than the tolerance."""
    proposals = {0: 0.5, 1: 0.2, 3: 0.3}
    taken = np.array([proposals.get(token, 0.0) for token in range(VOCABULARY)])
    for how in SAMPLINGS:
        gap = np.abs(np.cumsum(taken) - np.cumsum(chances_after(99, how))).max()
        assert gap > 2 * TOLERANCE


def test_rejection_sampling_accepts_as_often_as_the_two_distributions_overlap() -> None:
    how, proposals = SAMPLINGS[0], {0: 0.5, 1: 0.2, 3: 0.3}
    chooser, num_accepted = random.Random(8), 0
    for _ in range(NUM_DRAWS):
        token = drawn(proposals, chooser)
        draft = Draft("model", [token], [5], [proposals])
        tokens = Verifier(how, frozenset()).verify(Output(logits=[logits_after(99), logits_after(token)]), 10, draft)
        num_accepted += len(tokens) == 2
    chances = chances_after(99, how)
    overlap = sum(min(chances[token], chance) for token, chance in proposals.items())
    assert abs(num_accepted / NUM_DRAWS - overlap) <= TOLERANCE


def test_a_seed_says_the_same_with_and_without_drafts() -> None:
    how = Sampling(temperature=1.0, top_p=1.0, seed=5)
    plain = [Verifier(how, frozenset()).verify(Output(logits=[logits_after(99)]), at, None)[0] for at in range(200)]
    for at, expected in enumerate(plain):
        draft = Draft("model", [1], [5], [{1: 1.0}])
        tokens = Verifier(how, frozenset()).verify(Output(logits=[logits_after(99), logits_after(1)]), at, draft)
        assert tokens[0] == expected
