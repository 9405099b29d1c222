"""How much memory a configuration will need, from the file's header alone, and the refusal when it is not there.

Compared with what llama.cpp reports for the default model at 4k, 16k, 32k and 128k cells: KV exact, weights
within 4 % (repacked copies are padded), intermediate results never less and at most 10 % and 20 MB more.
"""

import msgspec

from firesteel.backend.native.description import Shape
from firesteel.backend.sizes import SCORE_BYTES, Sizes, uses_flash_attention
from firesteel.config import EngineConfig
from firesteel.errors import ConfigError
from firesteel.models.dimensions import Dimensions

ELEMENT_BYTES = {"f16": 2.0, "q8_0": 34 / 32}
CELL_PADDING = 256  # libllama rounds the context up to a multiple
PROCESS_BYTES = 250 << 20  # both processes: interpreter, libraries, vocabularies
TORCH_BYTES = 2 << 30  # PyTorch with CUDA in the engine's process
REPACKING = 1.04  # weights as the kernels want them, against the file


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes, by what takes them."""

    weights: int
    kv: int  # of the whole context; recurrent states too
    compute: int  # intermediate results of the largest step
    cache: int  # host memory for idle conversations, at most
    program: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(msgspec.structs.astuple(self))


def estimate(config: EngineConfig, sizes: Sizes, dimensions: Dimensions, *, scores_at_once: bool = True) -> Memory:
    """Return what a backend for `config` will take at most; `scores_at_once`: llama.cpp's way of attention."""
    return Memory(
        weights=int(dimensions.weight_bytes * REPACKING),
        kv=kv_bytes(config, sizes, dimensions),
        compute=compute_bytes(config, sizes, dimensions, scores_at_once=scores_at_once),
        cache=config.cache_bytes,
        program=PROCESS_BYTES,
    )


def on_host(shape: Shape, config: EngineConfig) -> Memory:
    """Return what the host gives: nothing of a model stays there, but one tensor at a time passes through."""
    largest = 4 * shape.embedding * max(shape.vocabulary, 2 * shape.feed_forward * max(shape.experts, 1))
    return Memory(weights=0, kv=0, compute=2 * largest, cache=config.cache_bytes, program=PROCESS_BYTES + TORCH_BYTES)


def bytes_per_token(config: EngineConfig, dimensions: Dimensions) -> float:
    """Return the bytes of KV that one token takes."""
    return dimensions.cached_elements * ELEMENT_BYTES[config.kv_type]


def kv_bytes(config: EngineConfig, sizes: Sizes, dimensions: Dimensions) -> int:
    """Return the bytes of KV of the whole context, and of the recurrent states of all sequences."""
    cells = padded(sizes.num_cells, CELL_PADDING)
    return int(cells * bytes_per_token(config, dimensions)) + sizes.num_reserved * dimensions.state_bytes


def compute_bytes(config: EngineConfig, sizes: Sizes, dimensions: Dimensions, *, scores_at_once: bool = True) -> int:
    """Return the bytes of intermediate results, as llama.cpp's graph allocator reserves them.

    Without flash attention the scores of all heads exist at once: rows × cells × heads × 6 bytes. The mask takes
    4 bytes more for each row and cell, 2 with it. llama.cpp rounds rows up to a multiple of the sequences.
    """
    rows = padded(min(sizes.max_rows, sizes.num_cells), sizes.num_reserved)
    cells = padded(sizes.num_cells, CELL_PADDING)
    each = 2 if uses_flash_attention(config) else 4 + SCORE_BYTES * dimensions.num_heads
    attention = rows * cells * each if dimensions.cached_elements and scores_at_once else 0
    logits = 2 * 4 * sizes.num_wanted * dimensions.vocabulary  # computed, and copied out
    return attention + 4 * rows * dimensions.widest_row + logits


def padded(number: int, multiple: int) -> int:
    """Return `number` rounded up to a multiple."""
    return -(-number // multiple) * multiple


def require(needed: Memory, available: int, config: EngineConfig) -> None:
    """Raise `ConfigError`, which names every part and what to lower, when `needed` is more than `available`."""
    if needed.total > available:
        raise ConfigError(
            f"this needs {megabytes(needed.total)} of memory and {megabytes(available)} are available: "
            f"{parts(needed)}; {remedy(needed, available, config)}"
        )


def parts(memory: Memory) -> str:
    """Return the parts in words."""
    named = (
        ("weights", memory.weights),
        ("KV", memory.kv),
        ("intermediate results", memory.compute),
        ("cache of idle conversations", memory.cache),
        ("program", memory.program),
    )
    return ", ".join(f"{name} {megabytes(size)}" for name, size in named)


def remedy(needed: Memory, available: int, config: EngineConfig) -> str:
    """Return what to lower."""
    fixed = needed.weights + needed.program
    if fixed >= available:
        return "take a smaller model, or --quantize q4_0"
    choices = ["a smaller --context"]
    if config.kv_type == "f16":
        choices.append("--kv-type q8_0")
    if needed.cache:
        choices.append("a smaller --cache-mb")
    return "ask for " + " or ".join(choices)


def megabytes(size: int) -> str:
    """Return a size as people read it."""
    return f"{size / 1e6:,.0f} MB"
