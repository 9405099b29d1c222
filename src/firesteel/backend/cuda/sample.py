"""Sampling on the device: given the same random numbers it chooses what the engine's sampler chooses.

Order: temperature, min-p and cut, top-k, top-p, draw, as in `engine/sample.py`. How many of the heaviest tokens must be
put in order is known from the settings alone, so that a graph needs no branch: none without top-k and top-p, `SHORT`
where top-k leaves no more, else all of the vocabulary.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from firesteel.types import Sampling

Tensor = Any  # torch.Tensor
CUT = 32.0  # of the engine's sampler: e^-32 of the best token's weight counts as none
SHORT = 256  # heaviest tokens, where that is enough
ALL = 1 << 31


class Settings(NamedTuple):
    """How each row is sampled, [rows]; a temperature of 0 is greedy."""

    temperature: Tensor
    top_k: Tensor  # 0: all
    top_p: Tensor
    depth: Tensor  # how far below the best logit tokens are kept


def settings(samplings: Sequence[Sampling | None], device: Any) -> Settings:
    """Return the settings of rows; `None` is greedy."""
    plain = [one if one is not None else Sampling(temperature=0.0) for one in samplings]
    depth = [(min(CUT, -math.log(one.min_p)) if one.min_p > 0 else CUT) * one.temperature for one in plain]
    return Settings(
        torch.tensor([one.temperature for one in plain], device=device),
        torch.tensor([one.top_k for one in plain], device=device),
        torch.tensor([one.top_p for one in plain], device=device, dtype=torch.float64),
        torch.tensor(depth, device=device),
    )


def num_ordered(samplings: Sequence[Sampling | None]) -> int:
    """Return how many of the heaviest tokens `choose` must put in order for these rows: 0, `SHORT` or `ALL`."""
    filtering = [one for one in samplings if one is not None and one.temperature > 0 and (one.top_k or one.top_p < 1)]
    if not filtering:
        return 0
    return SHORT if all(0 < one.top_k <= SHORT for one in filtering) else ALL


def choose(logits: Tensor, chosen: Settings, random: Tensor, ordered: int = ALL) -> Tensor:
    """Return a token for each row of `logits` [rows, vocabulary] at quantile `random` [rows]; -1: invalid numbers.

    `ordered`: see `num_ordered`.
    """
    best = logits.max(-1)
    temperature = chosen.temperature.clamp(min=1e-6)[:, None]
    is_kept = logits >= (best.values - chosen.depth)[:, None]
    weights = torch.where(is_kept, torch.exp((logits - best.values[:, None]) * (1 / temperature)), 0.0)
    sampled = filtered(weights, chosen, random, ordered) if ordered else at_quantile(weights.double(), random)
    token = torch.where(chosen.temperature > 0, sampled, best.indices)
    return torch.where(torch.isfinite(best.values), token, -1)


def filtered(weights: Tensor, chosen: Settings, random: Tensor, ordered: int) -> Tensor:
    """Return the token of each row at quantile `random` of what top-k and top-p leave."""
    values, tokens = heaviest(weights, ordered)
    rank = torch.arange(values.shape[1], device=weights.device)
    is_limited = chosen.top_k[:, None] > 0
    heavy = torch.where(~is_limited | (rank < chosen.top_k[:, None]), values, 0.0).double()
    before = heavy.cumsum(-1) - heavy
    in_nucleus = before < chosen.top_p[:, None] * heavy.sum(-1, keepdim=True)
    by_weight = tokens.gather(1, at_quantile(torch.where(in_nucleus, heavy, 0.0), random)[:, None])[:, 0]
    whole = weights.double()
    by_token = at_quantile(torch.where(is_limited, torch.zeros_like(whole).scatter_(1, tokens, heavy), whole), random)
    return torch.where(chosen.top_p < 1.0, by_weight, by_token)


def heaviest(weights: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the `count` greatest weights (not negative) of each row and their tokens; of equals the first ones first.

    The bits of such floats are ordered as they are; the token below them makes every key another.
    """
    if count >= weights.shape[1]:
        return tuple(weights.sort(dim=-1, descending=True, stable=True))
    keys = (weights.view(torch.int32).long() << 32) - torch.arange(weights.shape[1], device=weights.device)
    tokens = keys.topk(count, dim=-1).indices
    return weights.gather(1, tokens), tokens


def at_quantile(weights: Tensor, random: Tensor) -> Tensor:
    """Return the place [rows] at quantile `random` by `weights` [rows, n], one that has a weight."""
    cumulative = weights.cumsum(-1)
    wanted = random.double()[:, None] * cumulative[:, -1:]
    place = (cumulative <= wanted).sum(-1)
    last = weights.shape[1] - 1 - (weights.flip(-1) > 0).to(torch.int8).argmax(-1)
    return torch.minimum(place, last)
