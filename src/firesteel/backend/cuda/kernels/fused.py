"""All kernels in Triton, as a step of few rows on a GPU runs them."""

from typing import Any

import torch

from firesteel.backend.cuda.inputs import Inputs
from firesteel.backend.cuda.kernels import attend, product, rotate, routed
from firesteel.backend.cuda.weights import Layer, Matrix, Weights

Tensor = Any  # torch.Tensor


class TritonKernels:
    """`kernels.base.Kernels` in Triton."""

    name = "triton-1"  # raise it when results may differ by more than rounding

    def product(
        self,
        x: Tensor,
        matrix: Matrix,
        weights: Weights,
        *,
        norm: Tensor | None = None,
        bias: Tensor | None = None,
        residual: Tensor | None = None,
        is_gated: bool = False,
    ) -> Tensor:
        """See `Kernels.product`."""
        return product.launch(x, matrix, weights, norm=norm, bias=bias, residual=residual, is_gated=is_gated)

    def routed(self, x: Tensor, matrix: Matrix, chosen: Tensor, weights: Weights, *, is_gated: bool = False) -> Tensor:
        """See `Kernels.routed`."""
        return routed.launch(x, matrix, chosen, weights, is_gated=is_gated)

    def rotate_and_write(
        self, qkv: Tensor, layer: Layer, weights: Weights, positions: Tensor, slots: Tensor, kv: Tensor
    ) -> Tensor:
        """See `Kernels.rotate_and_write`."""
        return rotate.launch(qkv, layer, weights, positions, slots, kv)

    def attend(self, queries: Tensor, kv: Tensor, tables: Tensor, inputs: Inputs) -> Tensor:
        """See `Kernels.attend`."""
        return attend.launch(queries, kv, tables, inputs)

    def best(self, x: Tensor, matrix: Matrix, weights: Weights, *, norm: Tensor) -> tuple[Tensor, Tensor]:
        """See `Kernels.best`; the logits themselves are never written. Of equals, the first is taken."""
        values, tokens = product.launch(x, matrix, weights, norm=norm, is_best=True)
        largest = values.amax(0)
        first = torch.where(values == largest, tokens, matrix.data.shape[0]).amin(0)
        return largest, first
