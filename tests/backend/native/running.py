"""What the tests of the native backend share: tiny models opened, steps run."""

from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings

from firesteel.backend.base import Rows
from firesteel.backend.native.backend import NativeBackend
from tests.backend.native.models import compute, model, open_model
from tests.backend.native.oracle import Floats
from tests.backend.tiny_models import Sizes

few = settings(
    max_examples=6, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
SMALL = Sizes(width=64, inner=96, heads=4, kv_heads=2, head=32, experts=4)
FORMAT = {"llama": "q8_0", "qwen2": "q4_0", "qwen3": "f16", "qwen3moe": "q5_1"}
KV_TYPE = {"llama": "f16", "qwen2": "q8_0", "qwen3": "f16", "qwen3moe": "q8_0"}


def open_native(path: Path, **config: Any) -> NativeBackend:
    opened = open_model(path, **config)
    assert isinstance(opened, NativeBackend)
    return opened


def open_architecture(folder: Path, architecture: str, **config: Any) -> NativeBackend:
    path = model(folder, architecture, FORMAT[architecture], sizes=SMALL)
    return open_native(path, kv_type=KV_TYPE[architecture], **config)


def empty(backend: NativeBackend) -> None:
    for sequence in range(backend.capabilities.max_sequences):
        backend.trim(sequence, 0)


def run(backend: NativeBackend, *batch: Rows) -> list[list[Floats]]:
    backend.submit(list(batch))
    return [[row.copy() for row in output.logits] for output in backend.wait()]


def next_logits(backend: NativeBackend, sequence: int, position: int, token: int = 7) -> Floats:
    """The logits of one token more; the sequence is left as it was."""
    logits = compute(backend, sequence, [token], position)
    backend.trim(sequence, position)
    return logits


def one_by_one(backend: NativeBackend, tokens: list[int], sequence: int = 0) -> Floats:
    """The logits of every token, each computed in a step of its own; the sequence is empty afterwards."""
    rows = [compute(backend, sequence, [token], position) for position, token in enumerate(tokens)]
    backend.trim(sequence, 0)
    return np.array(rows)
