"""A step on the device: a batch's rows in, tokens or logits out."""

from collections.abc import Sequence
from typing import Any

import torch

from firesteel.backend.base import Rows, Want, uniform
from firesteel.backend.cuda import inputs as packing
from firesteel.backend.cuda.cache import Cache
from firesteel.backend.cuda.graphs import Graphs
from firesteel.backend.cuda.inputs import MOST_FEW, Inputs
from firesteel.backend.cuda.kernels.base import Kernels
from firesteel.backend.cuda.kernels.plain import PlainKernels
from firesteel.backend.cuda.model import best, forward, logits
from firesteel.backend.cuda.sample import Settings, choose, num_ordered, settings
from firesteel.backend.cuda.weights import Weights

Tensor = Any  # torch.Tensor


class Steps:
    """Runs steps. Few rows go through a graph of their bucket, many (prompts) through plain kernels."""

    def __init__(self, weights: Weights, kernels: Kernels, cache: Cache, device: Any) -> None:
        self.weights, self.kernels, self.cache, self.device = weights, kernels, cache, device
        self.graphs = Graphs(device)
        self._many: Kernels = PlainKernels()
        self._inputs: dict[int, Inputs] = {}

    def inputs(self, num_rows: int) -> Inputs:
        """Return the inputs of a bucket; they stay where they are, since graphs read them."""
        size = packing.bucket_of(num_rows)
        if size > MOST_FEW:
            return packing.make(size, self.cache.nobody, self.device)
        if size not in self._inputs:
            self._inputs[size] = packing.make(size, self.cache.nobody, self.device)
        return self._inputs[size]

    def compute(self, batch: Sequence[Rows]) -> tuple[Tensor, Tensor | None]:
        """Compute a batch; return a token for each wanted row (-1: invalid numbers) and, if any are wanted, logits.

        Pages for all rows must have been reserved.
        """
        inputs = self.inputs(sum(len(rows.tokens) for rows in batch))
        self.cache.upload_tables()
        packing.fill(inputs, batch, self.cache.nobody)
        wanted = torch.tensor(wanted_rows(batch), dtype=torch.int64).to(self.device)
        wants_logits = any(rows.want is Want.LOGITS for rows in batch)
        needs_logits = wants_logits or any(rows.sampling is not None for rows in batch)
        if inputs.num_rows > MOST_FEW:
            x = forward(self.weights, self._many, self.cache, inputs)[wanted]
            found = (logits if needs_logits else best)(x, self.weights, self._many)
        else:
            found = self.graphs.run((inputs.num_rows, needs_logits), lambda: self._few(inputs, needs_logits))[wanted]
        tokens = choose(found, *self._drawn(batch)) if needs_logits else found
        return tokens, found if wants_logits else None

    def _drawn(self, batch: Sequence[Rows]) -> tuple[Settings, Tensor, int]:
        """Return how each wanted row is sampled, its random number, and `num_ordered` of all."""
        samplings, numbers = [], []
        for rows in batch:
            first = rows.position + len(rows.tokens) - rows.num_wanted + 1  # position of the token that is drawn
            samplings += [rows.sampling] * rows.num_wanted
            numbers += [uniform(rows.seed, first + ahead) for ahead in range(rows.num_wanted)]
        random = torch.tensor(numbers, dtype=torch.float64)
        return settings(samplings, self.device), random.to(self.device), num_ordered(samplings)

    def _few(self, inputs: Inputs, wants_logits: bool) -> Tensor:
        x = forward(self.weights, self.kernels, self.cache, inputs)
        return (logits if wants_logits else best)(x, self.weights, self.kernels)

    def close(self) -> None:
        """Free what the device holds for steps."""
        self.graphs.close()
        self._inputs.clear()


def wanted_rows(batch: Sequence[Rows]) -> list[int]:
    """Return which rows of a batch have an output."""
    wanted: list[int] = []
    end = 0
    for rows in batch:
        end += len(rows.tokens)
        wanted += range(end - rows.num_wanted, end)
    return wanted
