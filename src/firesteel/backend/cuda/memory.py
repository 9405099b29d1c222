"""What a model takes of the device's memory and of the host's, from the header alone, and the refusal in words."""

from typing import Any

import torch

from firesteel.backend.cuda.pages import PAGE, num_pages
from firesteel.backend.memory import megabytes
from firesteel.backend.native.description import Shape
from firesteel.backend.sizes import Sizes
from firesteel.config import EngineConfig
from firesteel.errors import ConfigError

RESERVED = 1 << 30  # the CUDA context, cuBLAS's workspaces, graphs


def weight_bytes(shape: Shape, config: EngineConfig) -> int:
    """Return the bytes of all weights on the device; the embedding stays in 16 bits."""
    queries, keys = shape.heads * shape.head_size, 2 * shape.kv_heads * shape.head_size
    feed_forward = 3 * shape.feed_forward * shape.embedding * max(shape.experts, 1)
    layer = shape.embedding * (2 * queries + keys) + feed_forward
    table = shape.vocabulary * shape.embedding
    each = 2 if config.weights == "bf16" else 1
    return each * (shape.layers * layer + table) + 2 * table


def kv_bytes(shape: Shape, sizes: Sizes) -> int:
    """Return the bytes of all pages."""
    position = 4 + 4 * shape.layers * shape.kv_heads * shape.head_size
    return num_pages(sizes.num_cells, sizes.num_live) * PAGE * position


def compute_bytes(shape: Shape, sizes: Sizes) -> int:
    """Return the bytes of the largest step's intermediate results, roughly: the widest one, thrice, in float32."""
    widest = max(2 * shape.feed_forward, shape.embedding, (shape.heads + 2 * shape.kv_heads) * shape.head_size)
    return 4 * (3 * sizes.max_rows * widest + 2 * sizes.num_wanted * shape.vocabulary)


def require_on_device(device: Any, shape: Shape, sizes: Sizes, config: EngineConfig) -> None:
    """Raise ConfigError, which names every part and what to lower, where the GPU's free memory is too little."""
    if device.type != "cuda":
        return
    free, _ = torch.cuda.mem_get_info(device)
    parts = {
        "weights": weight_bytes(shape, config),
        "KV": kv_bytes(shape, sizes),
        "intermediate results": compute_bytes(shape, sizes),
        "CUDA": RESERVED,
    }
    needed = sum(parts.values())
    if needed > free:
        words = ", ".join(f"{name} {megabytes(size)}" for name, size in parts.items())
        raise ConfigError(
            f"this needs {megabytes(needed)} of the GPU's memory and {megabytes(free)} are free: {words}; "
            "ask for a smaller --context, a smaller --chunk, or --weights int8"
        )
