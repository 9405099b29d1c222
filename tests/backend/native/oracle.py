"""Weight formats through libggml itself: what it writes, and what it says that the bytes stand for."""

import ctypes
from functools import cache
from pathlib import Path

import llama_cpp
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int32]

# name: (format of the kernels, ggml type, columns of a block, bytes of a block)
FORMATS = {
    "q4_0": (0, 2, 32, 18),
    "q4_1": (1, 3, 32, 20),
    "q5_0": (2, 6, 32, 22),
    "q5_1": (3, 7, 32, 24),
    "q8_0": (4, 8, 32, 34),
    "q4_K": (5, 12, 256, 144),
    "q5_K": (6, 13, 256, 176),
    "q6_K": (7, 14, 256, 210),
    "f16": (8, 1, 1, 2),
    "bf16": (9, 30, 1, 2),
    "f32": (10, 0, 1, 4),
}
QUANTIZED = [name for name in FORMATS if name.startswith("q")]
HALVES = {"q4_0": [0], "q4_1": [0, 2], "q5_0": [0], "q5_1": [0, 2], "q8_0": [0]}  # where a block has its scales
HALVES |= {"q4_K": [0, 2], "q5_K": [0, 2], "q6_K": [208]}


@cache
def ggml() -> ctypes.CDLL:
    """libggml, as llama.cpp's Python package ships it."""
    found = ctypes.CDLL(str(Path(llama_cpp.__file__).parent / "lib" / "libggml-base.so"))
    pointer, size = ctypes.c_void_p, ctypes.c_int64
    found.ggml_quantize_chunk.argtypes = (ctypes.c_int, pointer, pointer, size, size, size, pointer)
    found.ggml_quantize_chunk.restype = ctypes.c_size_t
    for name in (*QUANTIZED, "bf16", "f16"):
        decoder(found, name).argtypes = (pointer, pointer, size)
        decoder(found, name).restype = None
    return found


def decoder(library: ctypes.CDLL, name: str) -> "ctypes._NamedFuncPointer":
    others = {"f16": "ggml_fp16_to_fp32_row", "bf16": "ggml_bf16_to_fp32_row"}
    function: ctypes._NamedFuncPointer = getattr(library, others.get(name, f"dequantize_row_{name}"))
    return function


def encoded(name: str, values: Floats) -> Bytes:
    """`values` [rows, columns] as libggml writes them, [rows, bytes]."""
    rows, columns = values.shape
    _, kind, block, size = FORMATS[name]
    assert columns % block == 0
    source, out = np.ascontiguousarray(values, np.float32), np.zeros((rows, columns // block * size), np.uint8)
    if name == "f32":
        return source.view(np.uint8)
    ggml().ggml_quantize_chunk(kind, source.ctypes.data, out.ctypes.data, 0, rows, columns, None)
    return out


def decoded(name: str, data: Bytes, columns: int) -> Floats:
    """What libggml reads in `data` [rows, bytes]."""
    if name == "f32":
        return data.view(np.float32)
    out = np.empty((len(data), columns), np.float32)
    decoder(ggml(), name)(data.ctypes.data, out.ctypes.data, out.size)
    return out


def any_bytes(name: str, rows: int, columns: int, random: np.random.Generator) -> Bytes:
    """Weights with any codes and small scales at all, [rows, bytes]: more than a quantiser would ever write."""
    _, _, block, size = FORMATS[name]
    if name not in HALVES:
        return encoded(name, random.standard_normal((rows, columns), np.float32))
    data = random.integers(0, 256, (rows * columns // block, size), np.uint8)
    for at in HALVES[name]:
        scales = random.normal(0, 0.02, len(data)).astype(np.float16)
        data[:, at : at + 2] = scales.view(np.uint8).reshape(-1, 2)
    return data.reshape(rows, -1)
