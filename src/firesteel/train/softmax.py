"""A softmax regression over sparse features of value one, trained on all samples at once: no chance, no order."""

from collections.abc import Sequence
from typing import Any

import numpy as np

NUM_STEPS = 120
RATE = 0.05
PENALTY = 3e-5  # on the squares of the weights
MAX_WEIGHT = 127


def fit(
    features: Sequence[Sequence[int]], labels: Sequence[int], importance: Sequence[float], num_buckets: int, width: int
) -> tuple[bytes, float]:
    """Return weights as signed bytes, `num_buckets` rows of `width`, and the scale of one step.

    A sample's score is the sum of its rows over the root of how many they are. The same input gives the same bytes on
    the same machine.
    """
    places, starts, rows = _flattened(features)
    norm = np.array([1 / np.sqrt(len(each)) for each in features])[:, None]
    wanted = np.eye(width)[np.array(labels)]
    share = np.array(importance)[:, None] / len(features)
    weights = np.zeros((num_buckets, width))
    mean, square = np.zeros_like(weights), np.zeros_like(weights)
    for step in range(1, NUM_STEPS + 1):
        error = (_chances(weights, places, starts, norm) - wanted) * share * norm
        gradient = np.stack([np.bincount(places, error[rows, k], num_buckets) for k in range(width)], 1)
        slope = gradient + PENALTY * weights
        mean = 0.9 * mean + 0.1 * slope
        square = 0.999 * square + 0.001 * slope * slope
        weights -= RATE * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
    scale = float(np.abs(weights).max()) / MAX_WEIGHT or 1.0
    scale = float(f"{scale:.6g}")
    return np.rint(weights / scale).clip(-MAX_WEIGHT, MAX_WEIGHT).astype(np.int8).tobytes(), scale


def _flattened(features: Sequence[Sequence[int]]) -> tuple[Any, Any, Any]:
    lengths = np.array([len(each) for each in features])
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    return np.concatenate([np.array(each) for each in features]), starts, np.repeat(np.arange(len(features)), lengths)


def _chances(weights: Any, places: Any, starts: Any, norm: Any) -> Any:
    scores = np.add.reduceat(weights[places], starts, axis=0) * norm
    grown = np.exp(scores - scores.max(axis=1, keepdims=True))
    return grown / grown.sum(axis=1, keepdims=True)
