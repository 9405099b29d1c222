"""Rows times the matrices of their experts in Triton, read where they lie.

The twin is `PlainKernels.routed`. A program owns a pair of row and expert, and some columns of the result.
"""

from typing import Any

import torch
import triton
import triton.language as tl

from firesteel.backend.cuda.kernels.product import TYPES, blocks
from firesteel.backend.cuda.weights import Matrix, Weights


@triton.jit
def routed_kernel(
    x, w, scale, chosen, out, num_experts, N, K,
    BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, HAS_SCALE: tl.constexpr, IS_GATED: tl.constexpr, TYPE: tl.constexpr,
):  # fmt: skip
    """Compute `BLOCK_N` columns of a pair; each row of `x` has `num_experts` pairs, one after the other.

    `N`: columns of the result; a gated matrix has twice as many rows, gates first.
    """
    pair = tl.program_id(0).to(tl.int64)
    n = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    is_n = n < N
    first = tl.load(chosen + pair) * (2 * N if IS_GATED else N)  # row of all experts' matrices
    total = tl.zeros((BLOCK_N,), tl.float32)
    other = tl.zeros((BLOCK_N,), tl.float32)
    for start in range(0, K, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        row = tl.load(x + pair // num_experts * K + k, mask=k < K, other=0.0).to(TYPE).to(tl.float32)[None, :]
        mask = is_n[:, None] & (k < K)[None, :]
        at = (first + n)[:, None] * K + k[None, :]
        total += tl.sum(tl.load(w + at, mask=mask, other=0.0).to(TYPE).to(tl.float32) * row, axis=1)
        if IS_GATED:
            up = tl.load(w + at + N * K, mask=mask, other=0.0)
            other += tl.sum(up.to(TYPE).to(tl.float32) * row, axis=1)
    if HAS_SCALE:
        total = total * tl.load(scale + first + n, mask=is_n, other=0.0)
        if IS_GATED:
            other = other * tl.load(scale + first + n + N, mask=is_n, other=0.0)
    if IS_GATED:
        total = total / (1.0 + tl.exp(-total)) * other
    tl.store(out + pair * N + n, total, mask=is_n)


def launch(x: Any, matrix: Matrix, chosen: Any, weights: Weights, *, is_gated: bool = False) -> Any:
    """Return `Kernels.routed`'s result."""
    num_pairs, size = chosen.shape[0], x.shape[1]
    columns = matrix.data.shape[1] // (2 if is_gated else 1)
    block_n, block_k = blocks(1, columns)
    out = torch.empty((num_pairs, columns), device=x.device, dtype=torch.float32)
    routed_kernel[(num_pairs, triton.cdiv(columns, block_n))](
        x, matrix.data, x if matrix.scale is None else matrix.scale, chosen, out,
        num_pairs // x.shape[0], columns, size,
        BLOCK_N=block_n, BLOCK_K=block_k, HAS_SCALE=matrix.scale is not None, IS_GATED=is_gated,
        TYPE=TYPES[weights.dtype],
    )  # fmt: skip
    return out
