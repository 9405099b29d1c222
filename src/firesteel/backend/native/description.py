"""What a model file's header says, checked and turned into what the kernels need to know.

Two ways to fail: `Unsupported` for models that the kernels do not know, which llama.cpp then runs, and `ModelError`
for files that contradict themselves. Nothing that C++ reads is taken from the file unchecked.
"""

import re
from enum import IntEnum

import msgspec

from firesteel.errors import ModelError
from firesteel.models.gguf import Header, Tensor

FORMATS = {2: 0, 3: 1, 6: 2, 7: 3, 8: 4, 12: 5, 13: 6, 14: 7, 1: 8, 30: 9, 0: 10}  # ggml type → `Format`
F32, Q8_0 = 10, 4
NUM_QUANTIZED = 8  # formats below this are packed
ROW_ALIGNMENT = {5: 256, 6: 256, 7: 256, 8: 1, 9: 1, 10: 1}  # columns of a format are a multiple; 32 by default
MOST = 1 << 24  # no size of a real model is larger
SCALED_KEYS = ("rope.scaling.type", "attention.sliding_window", "attention.scale", "logit_scale", "residual_scale")


class Unsupported(Exception):
    """The kernels do not know this model; the message says why."""


class Role(IntEnum):
    """`Role` in runtime/model.h."""

    EMBEDDING, OUTPUT_NORM, OUTPUT, ROPE_FACTORS = range(4)
    ATTENTION_NORM, QUERY, KEY, VALUE, QUERY_BIAS, KEY_BIAS, VALUE_BIAS, QUERY_NORM, KEY_NORM = range(4, 13)
    ATTENTION_OUTPUT, FEED_FORWARD_NORM, GATE, UP, DOWN, ROUTER, EXPERT_GATE, EXPERT_UP, EXPERT_DOWN = range(13, 22)


VECTORS = {Role.OUTPUT_NORM, Role.ROPE_FACTORS, Role.ATTENTION_NORM, Role.FEED_FORWARD_NORM}
VECTORS |= {Role.QUERY_BIAS, Role.KEY_BIAS, Role.VALUE_BIAS, Role.QUERY_NORM, Role.KEY_NORM}

OUTER_NAMES = {
    "token_embd.weight": Role.EMBEDDING,
    "output_norm.weight": Role.OUTPUT_NORM,
    "output.weight": Role.OUTPUT,
    "rope_freqs.weight": Role.ROPE_FACTORS,
}
LAYER_NAMES = {
    "attn_norm.weight": Role.ATTENTION_NORM,
    "attn_q.weight": Role.QUERY,
    "attn_k.weight": Role.KEY,
    "attn_v.weight": Role.VALUE,
    "attn_q.bias": Role.QUERY_BIAS,
    "attn_k.bias": Role.KEY_BIAS,
    "attn_v.bias": Role.VALUE_BIAS,
    "attn_q_norm.weight": Role.QUERY_NORM,
    "attn_k_norm.weight": Role.KEY_NORM,
    "attn_output.weight": Role.ATTENTION_OUTPUT,
    "ffn_norm.weight": Role.FEED_FORWARD_NORM,
    "ffn_gate.weight": Role.GATE,
    "ffn_up.weight": Role.UP,
    "ffn_down.weight": Role.DOWN,
    "ffn_gate_inp.weight": Role.ROUTER,
    "ffn_gate_exps.weight": Role.EXPERT_GATE,
    "ffn_up_exps.weight": Role.EXPERT_UP,
    "ffn_down_exps.weight": Role.EXPERT_DOWN,
}
LAYER_NAME = re.compile(r"blk\.(\d+)\.(.+)")
DENSE = (Role.GATE, Role.UP, Role.DOWN)
MIXTURE = (Role.ROUTER, Role.EXPERT_GATE, Role.EXPERT_UP, Role.EXPERT_DOWN)
ATTENTION = (Role.ATTENTION_NORM, Role.QUERY, Role.KEY, Role.VALUE, Role.ATTENTION_OUTPUT, Role.FEED_FORWARD_NORM)


class Architecture(msgspec.Struct, frozen=True):
    """What distinguishes one architecture from another."""

    interleaved: bool = False  # how rotary positions pair dimensions
    norms_heads: bool = False
    is_mixture: bool = False


ARCHITECTURES = {
    "llama": Architecture(interleaved=True),
    "qwen2": Architecture(),
    "qwen3": Architecture(norms_heads=True),
    "qwen3moe": Architecture(norms_heads=True, is_mixture=True),
}


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """The sizes of a model."""

    layers: int
    embedding: int
    heads: int
    kv_heads: int
    head_size: int
    feed_forward: int  # of one expert, where there are experts
    vocabulary: int
    experts: int
    experts_used: int
    interleaved: bool
    epsilon: float
    rope_base: float


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One tensor and what it is for; `layer` is 0 for those outside the layers."""

    role: Role
    layer: int
    format: int  # `Format` in kernels/formats.h
    rows: int
    columns: int
    experts: int  # 1 unless the tensor holds one matrix for each expert
    offset: int  # in the file
    bytes: int

    @property
    def is_packed(self) -> bool:
        """Whether the kernels want it in their own layout."""
        return self.format < NUM_QUANTIZED and self.role is not Role.EMBEDDING


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """A model that the kernels can run."""

    shape: Shape
    parts: tuple[Part, ...]


def describe(header: Header) -> Description:
    """Return the description of a model. Raises `Unsupported`, or `ModelError` for a file that cannot be right."""
    name = header.metadata.get("general.architecture")
    architecture = ARCHITECTURES.get(str(name))
    if architecture is None:
        raise Unsupported(f"the architecture {name} is not among {', '.join(ARCHITECTURES)}")
    found = {tensor.name: tensor for tensor in header.tensors}
    shape = read_shape(_Settings(header, str(name)), architecture, found)
    parts = [part_of(tensor, shape, header.data_offset) for tensor in header.tensors]
    if Role.OUTPUT not in {part.role for part in parts}:  # the embedding serves as the last matrix, too
        tied = next(part for part in parts if part.role is Role.EMBEDDING)
        parts.append(msgspec.structs.replace(tied, role=Role.OUTPUT))
    require_all(parts, shape, architecture)
    return Description(shape=shape, parts=tuple(parts))


class _Settings:
    """The metadata below an architecture's name."""

    def __init__(self, header: Header, name: str) -> None:
        self._metadata = header.metadata
        self._name = name

    def size(self, key: str, default: int | None = None) -> int:
        """Return a positive size."""
        value = self._metadata.get(f"{self._name}.{key}", default)
        if type(value) is not int or not 0 < value <= MOST:
            raise ModelError(f"{self._name}.{key} is {value!r}; it must be between 1 and {MOST}")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """Return a positive number."""
        value = self._metadata.get(f"{self._name}.{key}", default)
        if not isinstance(value, int | float) or not 0 < value < 1e12:
            raise ModelError(f"{self._name}.{key} is {value!r}; it must be a positive number")
        return float(value)

    def is_plain(self, key: str) -> bool:
        """Return whether a setting is absent or says that nothing is to be done."""
        return self._metadata.get(f"{self._name}.{key}", "none") in ("none", 0, 0.0)


def read_shape(settings: _Settings, architecture: Architecture, tensors: dict[str, Tensor]) -> Shape:
    """Return the sizes that the metadata states."""
    for key in SCALED_KEYS:
        if not settings.is_plain(key):
            raise Unsupported(f"its {key} is not known here")
    embedding, heads = settings.size("embedding_length"), settings.size("attention.head_count")
    head_size = settings.size("attention.key_length", max(embedding // heads, 1))
    kv_heads = settings.size("attention.head_count_kv", heads)
    for key in ("attention.value_length", "rope.dimension_count"):
        if settings.size(key, head_size) != head_size:
            raise Unsupported(f"its {key} is not the size of its heads")
    if heads % kv_heads:
        raise ModelError(f"{heads} heads cannot share {kv_heads} keys and values")
    if embedding % 32 or head_size % 32:
        raise Unsupported(f"its sizes {embedding} and {head_size} are no multiples of 32")
    if not architecture.is_mixture and not settings.is_plain("expert_count"):
        raise Unsupported("experts are only known in qwen3moe")
    rows = tensors["token_embd.weight"].dimensions if "token_embd.weight" in tensors else ()
    return Shape(
        layers=settings.size("block_count"),
        embedding=embedding,
        heads=heads,
        kv_heads=kv_heads,
        head_size=head_size,
        feed_forward=settings.size("expert_feed_forward_length" if architecture.is_mixture else "feed_forward_length"),
        vocabulary=rows[1] if len(rows) == 2 else 0,
        experts=settings.size("expert_count") if architecture.is_mixture else 0,
        experts_used=settings.size("expert_used_count") if architecture.is_mixture else 0,
        interleaved=architecture.interleaved,
        epsilon=settings.number("attention.layer_norm_rms_epsilon"),
        rope_base=settings.number("rope.freq_base", 10000.0),
    )


def part_of(tensor: Tensor, shape: Shape, data_offset: int) -> Part:
    """Return the part that a tensor is, its shape checked."""
    role, layer = role_of(tensor.name)
    if layer >= shape.layers:
        raise ModelError(f"tensor {tensor.name} belongs to layer {layer} of {shape.layers}")
    expected = dimensions_of(role, shape)
    if tuple(tensor.dimensions) != expected:
        raise ModelError(f"tensor {tensor.name} has the shape {tensor.dimensions}; {expected} is expected")
    if tensor.type not in FORMATS:
        raise Unsupported(f"tensor {tensor.name} is of ggml type {tensor.type}")
    form = FORMATS[tensor.type]
    if role in VECTORS and form != F32:
        raise Unsupported(f"tensor {tensor.name} is not of type F32")
    if expected[0] % ROW_ALIGNMENT.get(form, 32):
        raise ModelError(f"tensor {tensor.name} has rows of {expected[0]}, which its type cannot hold")
    offset = data_offset + tensor.offset
    if offset % 4:
        raise ModelError(f"tensor {tensor.name} begins at byte {offset}, which is no multiple of 4")
    rows, experts = (*expected[1:], 1, 1)[:2]
    return Part(
        role=role,
        layer=layer,
        format=form,
        rows=rows,
        columns=expected[0],
        experts=experts,
        offset=offset,
        bytes=tensor.bytes,
    )


def role_of(name: str) -> tuple[Role, int]:
    """Return the role and the layer that a tensor's name stands for. Raises `Unsupported` for unknown names."""
    if name in OUTER_NAMES:
        return OUTER_NAMES[name], 0
    match = LAYER_NAME.fullmatch(name)
    if match is None or match[2] not in LAYER_NAMES or len(match[1]) > 6:
        raise Unsupported(f"tensor {name[:64]} is not known here")
    return LAYER_NAMES[match[2]], int(match[1])


def dimensions_of(role: Role, shape: Shape) -> tuple[int, ...]:
    """Return the dimensions that a tensor must have, the fastest first, as GGUF names them."""
    width, hidden, queries, keys = (
        shape.embedding,
        shape.feed_forward,
        shape.heads * shape.head_size,
        shape.kv_heads * shape.head_size,
    )
    table: dict[Role, tuple[int, ...]] = {
        Role.EMBEDDING: (width, shape.vocabulary),
        Role.OUTPUT: (width, shape.vocabulary),
        Role.ROPE_FACTORS: (shape.head_size // 2,),
        Role.QUERY: (width, queries),
        Role.KEY: (width, keys),
        Role.VALUE: (width, keys),
        Role.QUERY_BIAS: (queries,),
        Role.KEY_BIAS: (keys,),
        Role.VALUE_BIAS: (keys,),
        Role.QUERY_NORM: (shape.head_size,),
        Role.KEY_NORM: (shape.head_size,),
        Role.ATTENTION_OUTPUT: (queries, width),
        Role.GATE: (width, hidden),
        Role.UP: (width, hidden),
        Role.DOWN: (hidden, width),
        Role.ROUTER: (width, shape.experts),
        Role.EXPERT_GATE: (width, hidden, shape.experts),
        Role.EXPERT_UP: (width, hidden, shape.experts),
        Role.EXPERT_DOWN: (hidden, width, shape.experts),
    }
    return table.get(role, (width,))


def require_all(parts: list[Part], shape: Shape, architecture: Architecture) -> None:
    """Raise `ModelError` unless every tensor that a step needs is there, once, and the numbers make sense."""
    present = [(part.role, part.layer) for part in parts]
    if len(set(present)) != len(present):
        raise ModelError("two tensors have the same name")
    needed: list[tuple[Role, int]] = [(Role.EMBEDDING, 0), (Role.OUTPUT_NORM, 0)]
    roles = ATTENTION + (MIXTURE if architecture.is_mixture else DENSE)
    roles += (Role.QUERY_NORM, Role.KEY_NORM) if architecture.norms_heads else ()
    if len(present) < shape.layers * len(roles):
        raise ModelError(f"it announces {shape.layers} layers and has the tensors of fewer")
    needed += [(role, layer) for layer in range(shape.layers) for role in roles]
    for role, layer in sorted(set(needed) - set(present)):
        raise ModelError(f"its tensor {role.name.lower()} of layer {layer} is missing")
    if shape.experts_used > shape.experts:
        raise ModelError(f"{shape.experts_used} of {shape.experts} experts cannot be used")


def support(header: Header, yarn: float | None) -> Description:
    """Return the description of a model that the kernels run with these positions. Raises like `describe`."""
    if yarn is not None:
        raise Unsupported("stretched positions (--yarn) are not known here")
    return describe(header)
