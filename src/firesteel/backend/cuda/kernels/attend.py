"""Attention of few rows over a long history in Triton: the history is split, so that all processors read some of it.

The twin is `PlainKernels.attend`. A program owns a tile (up to eight rows of one sequence), one head of keys with all
heads of queries that share it, and a range of pages. It leaves the maximum, the sum and the weighted values of its
range; a second kernel joins the ranges. How long the history is stands on the device, so one graph serves all lengths.
"""

from typing import Any

import torch
import triton
import triton.language as tl

from firesteel.backend.cuda.inputs import TILE, Inputs
from firesteel.backend.cuda.pages import PAGE

MOST_SPLITS = 32
PROGRAMS = 264  # two for each processor of a H100 or H200


@triton.jit
def _store_two(place, one, other):
    tl.store(place, one)
    tl.store(place + 1, other)


@triton.jit
def attend_kernel(
    queries, kv, tables, table_width, sequences, positions, tiles, sums, limits, values_at, scale,
    GROUP: tl.constexpr, KV_HEADS: tl.constexpr, SIZE: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr,
    SPLITS: tl.constexpr, PAGE_SIZE: tl.constexpr,
):  # fmt: skip
    """Attend to one range of pages: `sums` [tile, head, split, ROWS, BLOCK], `limits` the same with (maximum, sum)."""
    tile, head, split = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    first, count = tl.load(tiles + 2 * tile), tl.load(tiles + 2 * tile + 1)
    if count == 0:
        return
    m, d = tl.arange(0, ROWS), tl.arange(0, BLOCK)
    row, is_m, is_d = first + m // GROUP, m // GROUP < count, d < SIZE
    place = (row * KV_HEADS * GROUP + head * GROUP + m % GROUP) * SIZE
    query = tl.load(queries + place[:, None] + d[None, :], mask=is_m[:, None] & is_d[None, :], other=0.0)
    query = query.to(kv.dtype.element_ty)
    own = tl.load(positions + row, mask=is_m, other=0)
    length = tl.load(positions + first + count - 1) + 1
    each = tl.cdiv(tl.cdiv(length, PAGE_SIZE), SPLITS)
    table = tables + tl.load(sequences + first) * table_width
    total = tl.zeros((ROWS, BLOCK), tl.float32)
    largest, weight = tl.full((ROWS,), float("-inf"), tl.float32), tl.zeros((ROWS,), tl.float32)
    for index in range(split * each, tl.minimum((split + 1) * each, tl.cdiv(length, PAGE_SIZE))):
        slot = tl.load(table + index).to(tl.int64) * PAGE_SIZE + tl.arange(0, PAGE_SIZE)
        at = index * PAGE_SIZE + tl.arange(0, PAGE_SIZE)
        mask = (at < length)[:, None] & is_d[None, :]  # beyond it lies what others left, which may be no numbers
        source = kv + ((slot * KV_HEADS + head) * SIZE)[:, None] + d[None, :]
        keys = tl.load(source, mask=mask, other=0.0)
        scores = tl.dot(query, tl.trans(keys)) * scale
        scores = tl.where(at[None, :] <= own[:, None], scores, float("-inf"))
        top = tl.maximum(largest, tl.max(scores, axis=1))
        base = tl.where(top == float("-inf"), 0.0, top)
        chances, kept = tl.exp(scores - base[:, None]), tl.exp(largest - base)
        values = tl.load(source + values_at, mask=mask, other=0.0)
        total = total * kept[:, None] + tl.dot(chances.to(values.dtype), values)
        weight = weight * kept + tl.sum(chances, axis=1)
        largest = top
    part = ((tile * KV_HEADS + head) * SPLITS + split) * ROWS + m
    tl.store(sums + part[:, None] * BLOCK + d[None, :], total)
    _store_two(limits + part * 2, largest, weight)


@triton.jit
def join_kernel(
    sums, limits, tiles, out,
    GROUP: tl.constexpr, KV_HEADS: tl.constexpr, SIZE: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr,
    SPLITS: tl.constexpr,
):  # fmt: skip
    """Join the ranges of one row of a tile and one head of queries."""
    tile, m, head = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    first, count = tl.load(tiles + 2 * tile), tl.load(tiles + 2 * tile + 1)
    if m // GROUP >= count:
        return
    s, d = tl.arange(0, SPLITS), tl.arange(0, BLOCK)
    part = ((tile * KV_HEADS + head) * SPLITS + s) * ROWS + m
    largest, weight = tl.load(limits + part * 2), tl.load(limits + part * 2 + 1)
    share = tl.exp(largest - tl.max(largest, axis=0))
    total = tl.sum(tl.load(sums + part[:, None] * BLOCK + d[None, :]) * share[:, None], axis=0)
    row = first + m // GROUP
    place = (row * KV_HEADS * GROUP + head * GROUP + m % GROUP) * SIZE
    tl.store(out + place + d, total / tl.sum(weight * share, axis=0), mask=d < SIZE)


def splits(num_tiles: int, kv_heads: int) -> int:
    """Return into how many ranges a history is split, a power of two; an estimate, until measured on a GPU."""
    wanted = max(1, PROGRAMS // (num_tiles * kv_heads))
    return min(MOST_SPLITS, 1 << (wanted.bit_length() - 1))


def launch(queries: Any, kv: Any, tables: Any, inputs: Inputs) -> Any:
    """Return what each row reads; see `Kernels.attend`."""
    num_rows, heads, size = queries.shape
    kv_heads = kv.shape[-2]
    group, tile = heads // kv_heads, min(TILE, num_rows)
    rows, block = max(16, triton.next_power_of_2(tile * group)), max(16, triton.next_power_of_2(size))
    num_splits = splits(-(-num_rows // tile), kv_heads)
    empty = {"device": queries.device, "dtype": torch.float32}
    sums = torch.empty((num_rows, kv_heads, num_splits, rows, block), **empty)
    limits = torch.empty((num_rows, kv_heads, num_splits, rows, 2), **empty)
    out = torch.zeros((num_rows, heads * size), **empty)
    sizes = {"GROUP": group, "KV_HEADS": kv_heads, "SIZE": size, "BLOCK": block, "ROWS": rows, "SPLITS": num_splits}
    attend_kernel[(num_rows, kv_heads, num_splits)](
        queries,
        kv,
        tables,
        tables.stride(0),
        inputs.sequences,
        inputs.positions,
        inputs.tiles,
        sums,
        limits,
        kv.stride(0),
        size**-0.5,
        PAGE_SIZE=PAGE,
        **sizes,
    )
    join_kernel[(num_rows, tile * group, kv_heads)](sums, limits, inputs.tiles, out, **sizes)
    return out
