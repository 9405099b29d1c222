"""How much memory keys and values take: pages of positions, each with its scales (kernels/pages.h)."""

from firesteel.backend.native.description import Shape

PAGE_POSITIONS = 64  # `kPage`
SCALED_DIMENSIONS = 32  # `kChunk`: of a key, that share a scale
SCALE_BYTES = 4
CODE_BYTES = {"f16": 2, "q8_0": 1}  # of an element of keys and values, by `EngineConfig.kv_type`


def num_pages(num_cells: int, num_sequences: int) -> int:
    """Return the pages that hold `num_cells` cells: each sequence may waste most of two, its last and a shared one."""
    return -(-num_cells // PAGE_POSITIONS) + 2 * num_sequences


def kv_bytes(shape: Shape, num_pages: int, kv_type: str) -> int:
    """Return the bytes of so many pages of all layers."""
    codes = 2 * shape.head_size * CODE_BYTES[kv_type]
    scales = SCALE_BYTES * (shape.head_size // SCALED_DIMENSIONS + 1)  # of the key, and of the value
    return num_pages * PAGE_POSITIONS * shape.layers * shape.kv_heads * (codes + scales)
