"""Choosing the next token from logits, cheap at a vocabulary of 152k.

Order: bias and penalties, temperature, min-p, top-k, top-p, draw. Tokens so unlikely that all of them
together weigh less than 1e-7 are cut by one comparison first; only what top-p may keep is ever sorted.
"""

import math
import os
from collections import Counter

import numpy as np
import numpy.typing as npt

from firesteel.backend.base import Logits, Want
from firesteel.errors import EngineFailure
from firesteel.types import Sampling, TokenLogprob

Tokens = npt.NDArray[np.intp]
Weights = npt.NDArray[np.float32]

# e^-32 times a vocabulary of 256k is 3e-9 of the best token's weight: below what float32 logits resolve.
CUT = 32.0
HEAD = math.exp(-8.0)  # the nucleus hardly ever reaches below this weight; sorting stops here if it can
_MASK = (1 << 64) - 1


def uniform(seed: int, position: int) -> float:
    """Return a number in [0, 1) that depends on `seed` and `position` only (SplitMix64, Steele et al. 2014).

    Counter-based, so a sequence that is preempted, rewound or drafted draws the same numbers again.
    """
    z = (seed + (position + 1) * 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return float((z ^ (z >> 31)) >> 11) / (1 << 53)


class Sampler:
    """Chooses the tokens of one sequence."""

    def __init__(self, sampling: Sampling) -> None:
        self.sampling = sampling
        self.seed = sampling.seed if sampling.seed is not None else int.from_bytes(os.urandom(8))
        self._penalises = bool(sampling.presence_penalty or sampling.frequency_penalty)
        self._counts: dict[int, int] = {}  # output token -> occurrences; kept only where penalties need it
        self._adjusts = self._penalises or bool(sampling.logit_bias)
        plain = sampling.temperature == 0 and not self._adjusts and sampling.num_logprobs is None
        self.want = Want.BEST if plain else Want.LOGITS

    def choose(self, logits: Logits, position: int, ban: frozenset[int] = frozenset()) -> int:
        """Return the token for `position`, not one of `ban`, given `logits` [vocabulary_size].

        Remembers it for penalties. Raises EngineFailure when the logits are not numbers.
        """
        if not math.isfinite(logits.max()):
            raise EngineFailure("the model computed invalid numbers; its file may be damaged")
        adjusted = self._adjusted(logits) if self._adjusts else logits
        if ban:
            adjusted = adjusted.copy()
            adjusted[list(ban)] = -np.inf
        if self.sampling.temperature == 0:
            token = int(adjusted.argmax())
        else:
            token = draw(adjusted, self.sampling, uniform(self.seed, position))
        if self._penalises:
            self._counts[token] = self._counts.get(token, 0) + 1
        return token

    def rewind(self, tokens: list[int]) -> None:
        """Go back to where only `tokens` had been chosen."""
        self._counts = dict(Counter(tokens)) if self._penalises else {}

    def _adjusted(self, logits: Logits) -> Logits:
        adjusted = logits.copy()
        for token, bias in self.sampling.logit_bias:
            adjusted[token] += bias
        for token, count in self._counts.items():
            adjusted[token] -= self.sampling.presence_penalty + self.sampling.frequency_penalty * count
        return adjusted


def draw(logits: Logits, sampling: Sampling, random: float) -> int:
    """Return the token at quantile `random` of the distribution that the filters leave."""
    tokens, weights = survivors(logits, sampling)
    if sampling.top_p < 1.0:
        tokens, weights = nucleus(tokens, weights, sampling.top_p)
    cumulative = weights.cumsum(dtype=np.float64)
    index = int(cumulative.searchsorted(random * cumulative[-1], side="right"))
    return int(tokens[min(index, len(tokens) - 1)])


def survivors(logits: Logits, sampling: Sampling) -> tuple[Tokens, Weights]:
    """Return the tokens that the cut, min-p and top-k leave, by id, and their weights (the best has 1)."""
    best = float(logits.max())
    depth = min(CUT, -math.log(sampling.min_p)) if sampling.min_p > 0 else CUT
    tokens = (logits >= best - depth * sampling.temperature).nonzero()[0]
    weights = np.exp((logits[tokens] - best) * (1 / sampling.temperature))
    if 0 < sampling.top_k < len(tokens):
        kept = weights.argpartition(len(weights) - sampling.top_k)[-sampling.top_k :]
        kept.sort()
        tokens, weights = tokens[kept], weights[kept]
    return tokens, weights


def nucleus(tokens: Tokens, weights: Weights, top_p: float) -> tuple[Tokens, Weights]:
    """Return the fewest likeliest tokens that together hold `top_p` of the weight; only those are sorted."""
    wanted = top_p * float(weights.sum(dtype=np.float64))
    head = (weights >= HEAD).nonzero()[0]
    if weights[head].sum(dtype=np.float64) < wanted:
        head = np.arange(len(weights))
    head = head[(-weights[head]).argsort(kind="stable")]
    last = int(weights[head].cumsum(dtype=np.float64).searchsorted(wanted))
    kept = head[: last + 1]
    return tokens[kept], weights[kept]


def logprob_of(token: int, logits: Logits, num_top: int) -> TokenLogprob:
    """Return the natural log-probability of `token` and of the `num_top` best tokens under raw `logits`."""
    best = float(logits.max())
    log_total = best + math.log(float(np.exp(logits - np.float32(best)).sum(dtype=np.float64)))
    top: list[tuple[int, float]] = []
    if num_top:
        ids = np.argpartition(logits, -num_top)[-num_top:]
        ids = ids[np.argsort(-logits[ids], kind="stable")]
        top = [(int(i), float(logits[i]) - log_total) for i in ids]
    return TokenLogprob(token, float(logits[token]) - log_total, top)
