"""Single kernels of one instruction set, as functions of arrays."""

import numpy as np

from firesteel.backend.native import library
from tests.backend.native.oracle import FORMATS, Bytes, Floats, Ints

BLOCK_ROWS = 16
KV_BYTES = {"f16": 2, "q8_0": 1}


def product(kernels: str, name: str, weights: Bytes, x: Floats, *, coarse: bool = False) -> Floats:
    """`x` [tokens, columns] times the packed `weights` [rows, bytes], [tokens, rows]."""
    (tokens, columns), rows = x.shape, len(weights)
    out = np.full((tokens, -(-rows // BLOCK_ROWS) * BLOCK_ROWS), np.nan, np.float32)
    source, x = np.ascontiguousarray(weights), np.ascontiguousarray(x)
    numbers = (FORMATS[name][0], rows, columns, source.ctypes.data, tokens, x.ctypes.data, int(coarse))
    assert library.load().fs_probe_product(kernels.encode(), *numbers, out.ctypes.data, None)
    return out[:, :rows]


def slack(kernels: str, weights: Bytes, columns: int) -> Floats:
    """How far the coarse product of Q8_0 `weights` may be off, for activations of norm 1; [rows]."""
    rows, x = len(weights), np.zeros((1, columns), np.float32)
    out, found = np.empty((1, rows + BLOCK_ROWS), np.float32), np.empty(rows, np.float32)
    numbers = (FORMATS["q8_0"][0], rows, columns, weights.ctypes.data, 1, x.ctypes.data, 0)
    assert library.load().fs_probe_product(kernels.encode(), *numbers, out.ctypes.data, found.ctypes.data)
    return found


def quantised(kernels: str, x: Floats) -> Floats:
    """The activations `x` [tokens, columns] after quantising, as floats again."""
    x = np.ascontiguousarray(x)
    out = np.empty_like(x)
    for row, to in zip(x, out, strict=True):
        assert library.load().fs_probe_quantise(kernels.encode(), len(row), row.ctypes.data, to.ctypes.data)
    return out


def decoded(name: str, weights: Bytes, columns: int) -> Floats:
    """What the kernels read in `weights` [rows, bytes]."""
    source = np.ascontiguousarray(weights)
    out = np.empty((len(source), columns), np.float32)
    for row, to in zip(source, out, strict=True):
        library.load().fs_decode_row(FORMATS[name][0], row.ctypes.data, columns, to.ctypes.data)
    return out


def normalised(kernels: str, x: Floats, weight: Floats, epsilon: float) -> Floats:
    """`x` [n] after the root mean square norm."""
    out = np.empty_like(x)
    pointers = (x.ctypes.data, weight.ctypes.data, epsilon, out.ctypes.data)
    assert library.load().fs_probe_normalise(kernels.encode(), len(x), *pointers)
    return out


def gated(kernels: str, gate: Floats, up: Floats) -> Floats:
    """silu(`gate`) × `up`."""
    out = gate.copy()
    assert library.load().fs_probe_gated(kernels.encode(), len(out), out.ctypes.data, up.ctypes.data)
    return out


def attended(
    kernels: str,
    kv_type: str,
    keys: Floats,
    values: Floats,
    queries: Floats,
    positions: Ints,
    range_pages: int = 2,
) -> Floats:
    """Attention of `queries` at ascending `positions` over `keys` and `values`, [query, head size]."""
    (num_keys, size), count = keys.shape, len(queries)
    keys, values, queries = (np.ascontiguousarray(array) for array in (keys, values, queries))
    positions, out = np.ascontiguousarray(positions, np.int32), np.empty((count, size), np.float32)
    history = (KV_BYTES[kv_type], size, num_keys, keys.ctypes.data, values.ctypes.data)
    asked = (count, queries.ctypes.data, positions.ctypes.data, 1 / np.sqrt(size), range_pages, out.ctypes.data)
    assert library.load().fs_probe_attend(kernels.encode(), *history, *asked)
    return out
