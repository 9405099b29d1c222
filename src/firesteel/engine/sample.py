"""Choosing the next token from logits, cheap at a vocabulary of 152k.

Order: bias and penalties, bans, constraint, temperature, min-p, top-k, top-p, draw. Tokens so unlikely that all of them
together weigh less than 1e-7 are cut by one comparison first; only what top-p may keep is ever sorted.
"""

import math
import os
from collections import Counter
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from firesteel.backend.base import Logits, Want, uniform
from firesteel.engine.draft.base import Distribution
from firesteel.errors import EngineFailure
from firesteel.types import Sampling, TokenLogprob

Tokens = npt.NDArray[np.intp]
Weights = npt.NDArray[np.float32]

# e^-32 times a vocabulary of 256k is 3e-9 of the best token's weight: below what float32 logits resolve.
CUT = 32.0
HEAD = math.exp(-8.0)  # the nucleus hardly ever reaches below this weight; sorting stops here if it can
_JUDGE = 0x6A09E667F3BCC909  # makes the numbers that judge drafts independent of those that draw


class Filter(Protocol):
    """What a grammar allows next (`engine.constrain.Constraint`)."""

    def allows(self, token: int) -> bool:
        """Return whether `token` may come next."""
        ...

    def apply(self, logits: Logits) -> None:
        """Set the logits of what may not come next to minus infinity."""
        ...


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
        self.window = None if self._adjusts or sampling.num_logprobs is not None else window(sampling)

    def choose(
        self, logits: Logits, position: int, ban: frozenset[int] = frozenset(), constraint: Filter | None = None
    ) -> int:
        """Return the token for `position`, not one of `ban` and allowed by `constraint`, given `logits`.

        `logits` [vocabulary_size] may be written into. Remembers the token for penalties. Raises EngineFailure
        when the logits are not numbers.
        """
        adjusted = self._allowed(logits, ban, constraint)
        if self.sampling.temperature == 0:
            token = best(adjusted, constraint)
        else:
            token = draw(adjusted, self.sampling, uniform(self.seed, position))
        return self._remember(token)

    def judge(
        self,
        logits: Logits,
        position: int,
        drafted: tuple[int, Distribution],
        ban: frozenset[int] = frozenset(),
        constraint: Filter | None = None,
    ) -> int:
        """Return the token for `position`, given a token and the distribution that it was drawn from.

        Rejection sampling (Leviathan et al. 2023): the result is distributed as `choose` has it, and equals the
        drafted token as often as can be. With a seed that a client gave it is `choose`, so that the same seed
        says the same with and without drafts.
        """
        token, proposed = drafted
        if self.sampling.seed is not None or self.sampling.temperature == 0 or not proposed:
            return self.choose(logits, position, ban, constraint)
        tokens, weights = filtered(self._allowed(logits, ban, constraint), self.sampling)
        chances = dict(zip(tokens.tolist(), (weights / weights.sum(dtype=np.float64)).tolist(), strict=True))
        if uniform(self.seed ^ _JUDGE, position) * proposed[token] < chances.get(token, 0.0):
            return self._remember(token)
        left = np.array([max(0.0, chance - proposed.get(one, 0.0)) for one, chance in chances.items()])
        return self._remember(at_quantile(tokens, left if left.any() else weights, uniform(self.seed, position)))

    def _allowed(self, logits: Logits, ban: frozenset[int], constraint: Filter | None) -> Logits:
        if not math.isfinite(logits.max()):
            raise EngineFailure("the model computed invalid numbers; its file may be damaged")
        adjusted = self._adjusted(logits) if self._adjusts else logits
        if ban:
            adjusted = adjusted.copy()
            adjusted[list(ban)] = -np.inf
        if constraint is not None and self.sampling.temperature > 0:
            constraint.apply(adjusted)
            _require_any(adjusted)
        return adjusted

    def _remember(self, token: int) -> int:
        if self._penalises:
            self._counts[token] = self._counts.get(token, 0) + 1
        return token

    def remember(self, tokens: list[int]) -> None:
        """Count tokens for penalties that were not chosen but inserted."""
        for token in tokens:
            self._remember(token)

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


def best(logits: Logits, constraint: Filter | None) -> int:
    """Return the likeliest token that `constraint` allows: mostly the likeliest of all, which costs no mask."""
    token = int(logits.argmax())
    if constraint is None or (constraint.allows(token) and math.isfinite(logits[token])):
        return token
    constraint.apply(logits)
    _require_any(logits)
    return int(logits.argmax())


def _require_any(logits: Logits) -> None:
    if logits.max() == -np.inf:
        raise EngineFailure("nothing may follow: what the grammar allows is banned here")


def draw(logits: Logits, sampling: Sampling, random: float) -> int:
    """Return the token at quantile `random` of the distribution that the filters leave."""
    return at_quantile(*filtered(logits, sampling), random)


def filtered(logits: Logits, sampling: Sampling) -> tuple[Tokens, Weights]:
    """Return the tokens that all filters leave, and their weights."""
    tokens, weights = survivors(logits, sampling)
    return nucleus(tokens, weights, sampling.top_p) if sampling.top_p < 1.0 else (tokens, weights)


def at_quantile(tokens: Tokens, weights: npt.NDArray[Any], random: float) -> int:
    """Return the token at quantile `random` by `weights`, which need not sum to one."""
    cumulative = weights.cumsum(dtype=np.float64)
    index = int(cumulative.searchsorted(random * cumulative[-1], side="right"))
    return int(tokens[min(index, len(tokens) - 1)])


def depth(sampling: Sampling) -> float:
    """Return how far below the best logit the cut and min-p leave tokens."""
    kept = min(CUT, -math.log(sampling.min_p)) if sampling.min_p > 0 else CUT
    return kept * sampling.temperature


def window(sampling: Sampling) -> float:
    """Return `Rows.window`: `depth` and what rounding may add to it."""
    return depth(sampling) * 1.001 + 1e-3


def survivors(logits: Logits, sampling: Sampling) -> tuple[Tokens, Weights]:
    """Return the tokens that the cut, min-p and top-k leave, by id, and their weights (the best has 1)."""
    best = float(logits.max())
    tokens = (logits >= best - depth(sampling)).nonzero()[0]
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
