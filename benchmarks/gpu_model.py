"""For gpu.py: a model on the device without engine, server or tokenizer, and what the device can do at best."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from firesteel.backend.base import Rows, Want
from firesteel.backend.cuda.cache import Cache
from firesteel.backend.cuda.kernels import select
from firesteel.backend.cuda.kernels.base import Kernels
from firesteel.backend.cuda.lookup_plain import Place
from firesteel.backend.cuda.rounds import Lane, Rounds, Yield
from firesteel.backend.cuda.steps import Steps
from firesteel.backend.cuda.weights import Assembler, Read, Weights, random_read
from firesteel.backend.native.description import Shape

CHUNK = 2048


def qwen2(**sizes: int) -> Shape:
    return Shape(experts=0, experts_used=0, interleaved=False, epsilon=1e-6, rope_base=1e6, **sizes)


SHAPES = {  # of Qwen2.5-Coder; `tiny` is for a smoke test
    "0.5b": qwen2(layers=24, embedding=896, heads=14, kv_heads=2, head_size=64, feed_forward=4864, vocabulary=151_936),
    "1.5b": qwen2(
        layers=28, embedding=1536, heads=12, kv_heads=2, head_size=128, feed_forward=8960, vocabulary=151_936
    ),
    "tiny": qwen2(layers=2, embedding=128, heads=4, kv_heads=2, head_size=32, feed_forward=96, vocabulary=300),
}


def wait(device: Any) -> None:
    """Wait until the device has nothing to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(function: Callable[[], object], device: Any, repeats: int) -> float:
    """Return the median time of a call, after one that does not count; the device is waited for at both ends."""
    times = []
    for _ in range(repeats + 1):
        wait(device)
        started = time.perf_counter()
        function()
        wait(device)
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def copy_bandwidth(device: Any, size: int) -> float:
    """Return bytes a second of a copy of `size` bytes: those that are read and those that are written."""
    source = torch.ones(size // 4, device=device)
    target = torch.empty_like(source)
    return 2 * size / seconds(lambda: target.copy_(source), device, 20)


def peak(device: Any, size: int) -> float:
    """Return operations a second of a bf16 matrix product of `size`: a multiplication and an addition are two."""
    one = torch.randn((size, size), device=device).bfloat16()
    return 2 * size**3 / seconds(lambda: one @ one, device, 20)


class Model:
    """A model with its KV and steps."""

    def __init__(
        self, shape: Shape, device: Any, *, weights: Any = "bf16", cells: int = 8192, read: Read | None = None
    ) -> None:
        self.shape, self.device = shape, device
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        found = read or random_read(shape, device, has_bias=True, norms_heads=False, is_tied=True)
        self.weights: Weights = Assembler(shape, found, device, dtype, weights).weights()
        self.cache = Cache(shape, cells, 2, device)
        self.kernels: Kernels = select(device)
        self.steps = Steps(self.weights, self.kernels, self.cache, device)
        self.rounds = Rounds(self.steps)

    @property
    def bytes_per_token(self) -> int:
        """Bytes of weights that a step of one row reads."""
        return int(sum(one.nbytes * share for one, share in self._matrices()))

    @property
    def operations_per_token(self) -> int:
        """Multiplications and additions of a token's products, those of attention not counted."""
        return int(2 * sum(one.data.numel() * share for one, share in self._matrices()))

    def _matrices(self) -> list[tuple[Any, float]]:
        """Return each matrix, and which share of it a token needs: of experts, those that are used."""
        found = [(self.weights.head, 1.0)]
        for layer in self.weights.layers:
            found += [(one, 1.0) for one in (layer.qkv, layer.output, layer.gate_up, layer.down) if one is not None]
            if layer.experts is not None:
                share = layer.experts.num_used / layer.experts.router.shape[0]
                found += [(layer.experts.gate_up, share), (layer.experts.down, share)]
        return found

    def compute(self, tokens: list[int], position: int, *, num_draft: int = 0, want: Want = Want.BEST) -> list[int]:
        """Compute rows of sequence 0 from `position` on, what follows it dropped; return the best tokens."""
        self.cache.pages.trim(0, position)
        self.rounds.forget()
        for start in range(0, len(tokens), CHUNK):
            part = tokens[start : start + CHUNK]
            self.cache.pages.reserve([(0, position + start + len(part))])
            found, _ = self.steps.compute([Rows(0, position + start, part, want, num_draft=num_draft)])
            self.cache.pages.lengths[0] = position + start + len(part)
        best: list[int] = found.cpu().tolist()
        return best

    def stream(self, position: int, token: int, limit: int, num_rows: int, expected: list[int], place: Place) -> Yield:
        """Say up to `limit` tokens after `token` at `position`, whose predecessors have KV; see `Rounds.run`."""
        count = position + 1
        self.cache.pages.lengths[0] = position
        self.cache.pages.reserve([(0, count + limit + num_rows)])
        lane = Lane(0, count, token, limit, expected, place, 0, None, [])
        (found,) = self.rounds.run([lane], num_rows)
        self.cache.pages.lengths[0] = count + len(found.tokens) - 1
        return found

    def say(self, position: int, token: int, total: int, num_rows: int, expected: list[int]) -> list[int]:
        """Say `total` tokens, launch by launch, as the backend does."""
        said: list[int] = []
        place = Place()
        self.rounds.forget()
        self.cache.pages.trim(0, position)
        while len(said) < total:
            limit = min(64, total - len(said))
            found = self.stream(position + len(said), said[-1] if said else token, limit, num_rows, expected, place)
            said, place = said + found.tokens, found.place
        return said

    def close(self) -> None:
        self.steps.close()
