"""Rows times a matrix in Triton: norm before, bias, gate, residual and argmax after, in one pass over the weights.

The twin is `PlainKernels.product`. A program owns some columns of the result and streams their weights once, for all
rows. The inverse root mean square of a row is one number, so it is applied after the sum, and costs no second pass.
"""

from typing import Any

import torch
import triton
import triton.language as tl

from firesteel.backend.cuda.weights import Matrix, Weights

FEW = 4  # rows up to which numbers are multiplied one by one; more go to the tensor cores, 16 at least


@triton.jit
def _loaded(x, w, norm, n, r, k, is_n, is_r, K, HAS_NORM: tl.constexpr, TYPE: tl.constexpr):
    """Return a tile of rows (normed but for their size), their squares' sums, and a tile of weights."""
    is_k = k < K
    rows = tl.load(x + r[:, None] * K + k[None, :], mask=is_r[:, None] & is_k[None, :], other=0.0).to(tl.float32)
    squares = tl.sum(rows * rows, axis=1)
    if HAS_NORM:
        rows = rows * tl.load(norm + k, mask=is_k, other=0.0)[None, :]
    weights = tl.load(w + n[:, None].to(tl.int64) * K + k[None, :], mask=is_n[:, None] & is_k[None, :], other=0.0)
    return rows.to(TYPE), squares, weights.to(TYPE)


@triton.jit
def _added(total, rows, weights, ROWS: tl.constexpr, FEW_ROWS: tl.constexpr):
    """Return the sums [rows, columns] and the products of two tiles."""
    if ROWS <= FEW_ROWS:
        found = total + tl.sum(rows.to(tl.float32)[:, None, :] * weights.to(tl.float32)[None, :, :], axis=2)
    else:
        found = tl.dot(rows, tl.trans(weights), total, input_precision="ieee")
    return found


@triton.jit
def _finished(
    total, other, scale, bias, n, is_n, N,
    HAS_SCALE: tl.constexpr, HAS_BIAS: tl.constexpr, IS_GATED: tl.constexpr,
):  # fmt: skip
    """Return sums with their scales and bias, through the gate."""
    if HAS_SCALE:
        total = total * tl.load(scale + n, mask=is_n, other=0.0)[None, :]
        if IS_GATED:
            other = other * tl.load(scale + n + N, mask=is_n, other=0.0)[None, :]
    if HAS_BIAS:
        total = total + tl.load(bias + n, mask=is_n, other=0.0)[None, :]
    if IS_GATED:
        total = total / (1.0 + tl.exp(-total)) * other
    return total


@triton.jit
def product_kernel(
    x, w, scale, norm, bias, residual, out, best_value, best_token, num_rows, N, K, epsilon,
    ROWS: tl.constexpr, FEW_ROWS: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, HAS_SCALE: tl.constexpr,
    HAS_NORM: tl.constexpr, HAS_BIAS: tl.constexpr, HAS_RESIDUAL: tl.constexpr, IS_GATED: tl.constexpr,
    IS_BEST: tl.constexpr, TYPE: tl.constexpr,
):  # fmt: skip
    """Compute `BLOCK_N` columns of all rows. `N`: columns of the result; a gated matrix has twice as many rows."""
    n = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    r = tl.arange(0, ROWS)
    is_n, is_r = n < N, r < num_rows
    total = tl.zeros((ROWS, BLOCK_N), tl.float32)
    other = tl.zeros((ROWS, BLOCK_N), tl.float32)
    squares = tl.zeros((ROWS,), tl.float32)
    for start in range(0, K, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        rows, more, weights = _loaded(x, w, norm, n, r, k, is_n, is_r, K, HAS_NORM, TYPE)
        squares += more
        total = _added(total, rows, weights, ROWS, FEW_ROWS)
        if IS_GATED:
            mask = is_n[:, None] & (k < K)[None, :]
            up = tl.load(w + (n + N)[:, None].to(tl.int64) * K + k[None, :], mask=mask, other=0.0).to(TYPE)
            other = _added(other, rows, up, ROWS, FEW_ROWS)
    if HAS_NORM:
        size = tl.rsqrt(squares / K + epsilon)[:, None]
        total, other = total * size, other * size
    total = _finished(total, other, scale, bias, n, is_n, N, HAS_SCALE, HAS_BIAS, IS_GATED)
    at = r[:, None] * N + n[None, :]
    mask = is_r[:, None] & is_n[None, :]
    if HAS_RESIDUAL:
        total = total + tl.load(residual + at, mask=mask, other=0.0)
    if IS_BEST:
        # What is not a number must win, to be seen.
        total = tl.where(total != total, float("inf"), total)
        total = tl.where(is_n[None, :], total, float("-inf"))
        place = tl.program_id(0) * num_rows + r
        tl.store(best_value + place, tl.max(total, axis=1), mask=is_r)
        tl.store(best_token + place, tl.program_id(0) * BLOCK_N + tl.argmax(total, axis=1), mask=is_r)
    else:
        tl.store(out + at, total, mask=mask)


def blocks(num_rows: int, num_columns: int) -> tuple[int, int]:
    """Return columns of a program and how many weights of each it takes at once. Estimates, until measured on a GPU.

    Few columns, so that small matrices still fill all processors; the tensor cores want 16 at least.
    """
    if num_rows <= FEW:
        return (4 if num_columns < 8192 else 8), 512 >> (num_rows - 1).bit_length()
    return (16 if num_columns < 8192 else 32), 128


def launch(
    x: Any,
    matrix: Matrix,
    weights: Weights,
    *,
    norm: Any = None,
    bias: Any = None,
    residual: Any = None,
    is_gated: bool = False,
    is_best: bool = False,
) -> Any:
    """Return `Kernels.product`'s result, or with `is_best` each block's largest value and its column."""
    num_rows, size = x.shape
    columns = matrix.data.shape[0] // (2 if is_gated else 1)
    block_n, block_k = blocks(num_rows, columns)
    num_blocks = triton.cdiv(columns, block_n)
    empty = {"device": x.device, "dtype": torch.float32}
    out = torch.empty((num_rows, 1 if is_best else columns), **empty)
    value = torch.empty((num_blocks if is_best else 1, num_rows), **empty)
    token = torch.empty(value.shape, device=x.device, dtype=torch.int64)
    rows = max(1, 1 << (num_rows - 1).bit_length())
    given = [x if one is None else one for one in (matrix.scale, norm, bias, residual)]
    product_kernel[(num_blocks,)](
        x, matrix.data, *given, out, value, token, num_rows, columns, size, weights.shape.epsilon,
        ROWS=rows if rows <= FEW else max(16, rows), FEW_ROWS=FEW, BLOCK_N=block_n, BLOCK_K=block_k,
        HAS_SCALE=matrix.scale is not None, HAS_NORM=norm is not None, HAS_BIAS=bias is not None,
        HAS_RESIDUAL=residual is not None, IS_GATED=is_gated, IS_BEST=is_best, TYPE=TYPES[weights.dtype],
    )  # fmt: skip
    return (value, token) if is_best else out


TYPES = {torch.bfloat16: tl.bfloat16, torch.float16: tl.float16, torch.float32: tl.float32}
