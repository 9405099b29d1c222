"""The sizes of a model that its KV, its states and its intermediate results depend on, from the header alone."""

import math
import re

import msgspec

from firesteel.models.gguf import Header

ATTENTION = re.compile(r"blk\.(\d+)\.(attn_k|attn_qkv|attn_kv_a_mqa)\.weight")
FEED_FORWARD = re.compile(r"blk\.\d+\.ffn_(up|gate)(_exps|_shexp)?\.weight")


class Dimensions(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes of one model; 0 where it has no such thing."""

    weight_bytes: int
    vocabulary: int
    num_heads: int  # of queries, in one layer
    cached_elements: int  # keys and values of one token, all layers together
    state_bytes: int  # of one sequence in recurrent layers (Mamba), whatever its length
    widest_row: int  # elements of a token's largest intermediate result


def dimensions(header: Header) -> Dimensions:
    """Return the sizes of the model; needs a header with `general.architecture`."""
    shapes = {tensor.name: tensor.dimensions for tensor in header.tensors}
    embedding = shapes.get("token_embd.weight", (0, 0))
    feed_forward = [dims[1] for name, dims in shapes.items() if FEED_FORWARD.fullmatch(name)]
    return Dimensions(
        weight_bytes=header.tensor_bytes,
        vocabulary=embedding[-1],
        num_heads=integer(header, "attention.head_count"),
        cached_elements=sum(cached_in_layer(shapes, name, dims) for name, dims in shapes.items()),
        state_bytes=4 * state_elements(header) * count(shapes, "ssm_a"),
        widest_row=max(embedding[0], *feed_forward, 2 * integer(header, "ssm.inner_size")),
    )


def cached_in_layer(shapes: dict[str, tuple[int, ...]], name: str, dims: tuple[int, ...]) -> int:
    """Return the key and value elements of one token in the layer that the tensor `name` makes keys for, else 0."""
    match = ATTENTION.fullmatch(name)
    if match is None:
        return 0
    if match[2] == "attn_k":
        values = shapes.get(f"blk.{match[1]}.attn_v.weight", dims)
        return dims[1] + values[1]
    if match[2] == "attn_kv_a_mqa":  # multi-head latent attention keeps the latent, which is key and value
        return dims[1]
    return dims[1] - dims[0]  # queries, keys and values in one matrix; queries are as wide as the input


def state_elements(header: Header) -> int:
    """Return the elements of one Mamba layer's state: its convolution's window and its hidden state."""
    inner, hidden = integer(header, "ssm.inner_size"), integer(header, "ssm.state_size")
    window = max(integer(header, "ssm.conv_kernel") - 1, 0)
    return window * (inner + 2 * integer(header, "ssm.group_count") * hidden) + inner * hidden


def count(shapes: dict[str, tuple[int, ...]], kind: str) -> int:
    """Return how many layers have a tensor of this kind."""
    return sum(1 for name in shapes if re.fullmatch(rf"blk\.\d+\.{kind}(\.weight)?", name))


def integer(header: Header, key: str) -> int:
    """Return a number of the metadata below the architecture's name, 0 where the file has none or many."""
    value = header.metadata.get(f"{header.metadata.get('general.architecture')}.{key}", 0)
    return int(value) if isinstance(value, int | float) and math.isfinite(value) else 0
