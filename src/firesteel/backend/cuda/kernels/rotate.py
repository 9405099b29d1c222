"""Norms of heads, rotation by position and the writing of KV, in one Triton kernel: a program for each head of a row.

The twin is `PlainKernels.rotate_and_write`.
"""

from typing import Any

import torch
import triton
import triton.language as tl

from firesteel.backend.cuda.weights import Layer, Weights


@triton.jit
def _norm(query_norm, key_norm, i, is_i, is_query):
    """Return the weights of the norm of a query or of a key."""
    query = tl.load(query_norm + i, mask=is_i & is_query, other=0.0)
    return query + tl.load(key_norm + i, mask=is_i & (is_query == 0), other=0.0)


@triton.jit
def _turned(one, two, position, frequency):
    """Return two halves of a head turned by their angles. In float32 position 100,000 would be off by 0.004."""
    turns = position.to(tl.float64) * frequency.to(tl.float64) * 0.15915494309189535
    angle = ((turns - tl.floor(turns)) * 6.283185307179586).to(tl.float32)
    cosine, sine = tl.cos(angle), tl.sin(angle)
    return one * cosine - two * sine, one * sine + two * cosine


@triton.jit
def rotate_kernel(
    qkv, query_norm, key_norm, frequencies, positions, slots, kv, queries, values_at, epsilon,
    HEADS: tl.constexpr, KV_HEADS: tl.constexpr, SIZE: tl.constexpr, BLOCK: tl.constexpr, NORMS: tl.constexpr,
):  # fmt: skip
    """Process one head: a query goes to `queries`, a key or value to its slot of `kv`."""
    row, head = tl.program_id(0), tl.program_id(1)
    half: tl.constexpr = SIZE // 2
    i = tl.arange(0, BLOCK)
    is_i = i < half
    source = qkv + (row * (HEADS + 2 * KV_HEADS) + head) * SIZE
    one = tl.load(source + i, mask=is_i, other=0.0)
    two = tl.load(source + half + i, mask=is_i, other=0.0)
    slot = tl.load(slots + row)
    if head >= HEADS + KV_HEADS:
        target = kv + values_at + (slot * KV_HEADS + head - HEADS - KV_HEADS) * SIZE
        tl.store(target + i, one.to(kv.dtype.element_ty), mask=is_i)
        tl.store(target + half + i, two.to(kv.dtype.element_ty), mask=is_i)
    else:
        if NORMS:
            mean = tl.sum(one * one + two * two, axis=0) / SIZE
            size = tl.rsqrt(mean + epsilon)
            one = one * size * _norm(query_norm, key_norm, i, is_i, head < HEADS)
            two = two * size * _norm(query_norm, key_norm, half + i, is_i, head < HEADS)
        frequency = tl.load(frequencies + i, mask=is_i, other=0.0)
        turned, partner = _turned(one, two, tl.load(positions + row), frequency)
        if head < HEADS:
            target = queries + (row * HEADS + head) * SIZE
            tl.store(target + i, turned, mask=is_i)
            tl.store(target + half + i, partner, mask=is_i)
        else:
            key = kv + (slot * KV_HEADS + head - HEADS) * SIZE
            tl.store(key + i, turned.to(kv.dtype.element_ty), mask=is_i)
            tl.store(key + half + i, partner.to(kv.dtype.element_ty), mask=is_i)


def launch(qkv: Any, layer: Layer, weights: Weights, positions: Any, slots: Any, kv: Any) -> Any:
    """Write keys and values; return the queries. See `Kernels.rotate_and_write`."""
    shape, num_rows = weights.shape, qkv.shape[0]
    queries = torch.empty((num_rows, shape.heads, shape.head_size), device=qkv.device, dtype=torch.float32)
    has_norms = layer.query_norm is not None
    rotate_kernel[(num_rows, shape.heads + 2 * shape.kv_heads)](
        qkv,
        layer.query_norm if has_norms else qkv,
        layer.key_norm if has_norms else qkv,
        weights.frequencies,
        positions,
        slots,
        kv,
        queries,
        kv.stride(0),
        shape.epsilon,
        HEADS=shape.heads,
        KV_HEADS=shape.kv_heads,
        SIZE=shape.head_size,
        BLOCK=triton.next_power_of_2(shape.head_size // 2),
        NORMS=has_norms,
    )
    return queries
