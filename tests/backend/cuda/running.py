"""What the tests of the CUDA backend share: tiny models opened, steps run."""

from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings

from firesteel.backend.base import Rows, Want
from firesteel.backend.cuda.backend import CudaBackend
from tests.backend.native.models import compute, open_model
from tests.backend.native.oracle import Floats
from tests.backend.native.running import SMALL

__all__ = ["SMALL", "close_to", "empty", "few", "next_logits", "open_cuda", "run"]

few = settings(
    max_examples=8, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
# The shape of a batch changes the order of sums in float32, and thereby now and then the rounding of a key or value to
# a half float. Root mean square difference over the spread of the logits; measured: at most 0.0009.
TOLERANCE = 0.003


def open_cuda(path: Path, **config: Any) -> CudaBackend:
    opened = open_model(path, "cuda", **config)
    assert isinstance(opened, CudaBackend)
    return opened


def empty(backend: CudaBackend) -> None:
    for sequence in range(backend.capabilities.max_sequences):
        backend.trim(sequence, 0)


def run(backend: CudaBackend, *batch: Rows) -> list[list[Floats]]:
    backend.submit(list(batch))
    return [[row.copy() for row in output.logits] for output in backend.wait()]


def next_logits(backend: CudaBackend, sequence: int, position: int, token: int = 7) -> Floats:
    """The logits of one token more; the sequence is left as it was."""
    backend.submit([Rows(sequence, position, [token], Want.LOGITS)])
    (output,) = backend.wait()
    backend.trim(sequence, position)
    logits: Floats = output.logits[0].copy()
    return logits


def difference(found: Floats, expected: Floats) -> float:
    return float(np.sqrt(((found - expected) ** 2).mean()) / expected.std())


def close_to(found: Floats, expected: Floats) -> bool:
    return difference(np.asarray(found), np.asarray(expected)) <= TOLERANCE


def computed(backend: CudaBackend, tokens: list[int], sequence: int = 3) -> Floats:
    """The logits of the last of `tokens`, computed from nothing in an empty sequence."""
    backend.trim(sequence, 0)
    return compute(backend, sequence, tokens)
