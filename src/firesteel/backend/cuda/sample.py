"""Sampling on the device: given the same random numbers it chooses what the engine's sampler chooses.

Order: temperature, min-p and cut, top-k, top-p, draw, as in `engine/sample.py`. All of a row is sorted, which costs
more than a threshold first; it is done only where a row is sampled.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from firesteel.types import Sampling

Tensor = Any  # torch.Tensor
CUT = 32.0  # of the engine's sampler: e^-32 of the best token's weight counts as none


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


def choose(logits: Tensor, chosen: Settings, random: Tensor) -> Tensor:
    """Return a token for each row of `logits` [rows, vocabulary] at quantile `random` [rows]; -1: invalid numbers."""
    best = logits.max(-1)
    temperature = chosen.temperature.clamp(min=1e-6)[:, None]
    is_kept = logits >= (best.values - chosen.depth)[:, None]
    weights = torch.where(is_kept, torch.exp((logits - best.values[:, None]) * (1 / temperature)), 0.0)
    ordered = weights.sort(dim=-1, descending=True, stable=True)
    rank = torch.arange(logits.shape[1], device=logits.device)
    is_top = (chosen.top_k[:, None] <= 0) | (rank < chosen.top_k[:, None])
    heavy = torch.where(is_top, ordered.values, 0.0).double()
    before = heavy.cumsum(-1) - heavy
    in_nucleus = before < chosen.top_p[:, None] * heavy.sum(-1, keepdim=True)
    by_weight = ordered.indices.gather(1, at_quantile(torch.where(in_nucleus, heavy, 0.0), random)[:, None])[:, 0]
    by_token = at_quantile(torch.zeros_like(heavy).scatter_(1, ordered.indices, heavy), random)
    sampled = torch.where(chosen.top_p < 1.0, by_weight, by_token)
    token = torch.where(chosen.temperature > 0, sampled, best.indices)
    return torch.where(torch.isfinite(best.values), token, -1)


def at_quantile(weights: Tensor, random: Tensor) -> Tensor:
    """Return the place [rows] at quantile `random` by `weights` [rows, n], one that has a weight."""
    cumulative = weights.cumsum(-1)
    wanted = random.double()[:, None] * cumulative[:, -1:]
    place = (cumulative <= wanted).sum(-1)
    last = weights.shape[1] - 1 - (weights.flip(-1) > 0).to(torch.int8).argmax(-1)
    return torch.minimum(place, last)
