"""Tiny models in any weight format, and how to run them with either backend."""

from pathlib import Path
from typing import Any

import numpy as np

from firesteel.backend import open_backend
from firesteel.backend.base import Backend, Rows, Want
from firesteel.config import EngineConfig
from tests.backend import tiny_models
from tests.backend.native import oracle
from tests.backend.native.oracle import FORMATS, Floats
from tests.backend.tiny_models import STANDARD, Encode, Sizes

ARCHITECTURES = ("llama", "qwen2", "qwen3", "qwen3moe")
TOKENS = [(index * 89 + index // 7) % 256 for index in range(800)]


def in_format(name: str, head: str | None = None) -> Encode:
    """Matrices in the format `name`, the last one and the embedding in `head`; vectors and routers as floats."""

    def encode(tensor: str, weight: Floats) -> tuple[int, bytes]:
        if weight.ndim == 1 or "gate_inp" in tensor:
            return tiny_models.as_floats(tensor, weight)
        chosen = head or name if tensor.startswith(("output", "token_embd")) else name
        return FORMATS[chosen][1], oracle.encoded(chosen, weight.reshape(-1, weight.shape[-1])).tobytes()

    return encode


def model(
    folder: Path, architecture: str = "llama", name: str = "q4_0", head: str | None = None, sizes: Sizes = STANDARD
) -> Path:
    """The path of a tiny model, written now unless it is there."""
    file = f"{architecture}-{name}-{head}-{'-'.join(map(str, sizes))}.gguf"
    path = folder / file
    return path if path.exists() else tiny_models.decoder(path, architecture, sizes, in_format(name, head))


def open_model(path: Path, backend: Any = "native", **config: Any) -> Backend:
    values = {"num_threads": 1, "max_live": 4, "context_tokens": 1024} | config
    return open_backend(EngineConfig(model=str(path), backend=backend, cache_bytes=0, **values))


def compute(backend: Backend, sequence: int, tokens: list[int], position: int = 0, chunk: int = 0) -> Floats:
    """Compute `tokens` in chunks and return the logits of the last."""
    size = chunk or backend.capabilities.chunk_rows
    for start in range(0, len(tokens), size):
        backend.submit([Rows(sequence, position + start, tokens[start : start + size], Want.LOGITS)])
        (output,) = backend.wait()
    return output.logits[0].copy()


def all_logits(backend: Backend, tokens: list[int], sequence: int = 0) -> Floats:
    """The logits of every token, [token, vocabulary], computed at once; the sequence is empty before and after."""
    backend.submit([Rows(sequence, 0, tokens, Want.LOGITS, num_draft=len(tokens) - 1)])
    (output,) = backend.wait()
    logits = np.array(output.logits)
    backend.trim(sequence, 0)
    return logits
