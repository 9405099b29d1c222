"""A model's weights on the device, laid out for few large products: queries, keys and values in one matrix, gate and up
in another. Where they come from is a `Read`: a GGUF file, a folder of safetensors, or a random generator.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from firesteel.backend.native.description import Role, Shape
from firesteel.config import WeightsName

Tensor = Any  # torch.Tensor
Read = Callable[[Role, int], Tensor | None]  # (role, layer) → floats [experts,] rows, columns; None: there is none
QUANTIZED = {"int8": (torch.int8, 127.0), "fp8": (torch.float8_e4m3fn, 448.0)}  # type, largest magnitude
NUM_NORMALS = 2 << 20  # from which random weights repeat


class Matrix(NamedTuple):
    """Weights [rows, columns], or one such for each expert; `scale` [rows] where they are in 8 bits."""

    data: Tensor
    scale: Tensor | None = None

    @property
    def nbytes(self) -> int:
        """Bytes that a product with it reads."""
        return int(self.data.nbytes) + (0 if self.scale is None else int(self.scale.nbytes))


class Experts(NamedTuple):
    """The feed-forward part of a layer that has experts."""

    router: Tensor  # [experts, width]
    gate_up: Matrix  # [experts, 2 × hidden, width]
    down: Matrix  # [experts, width, hidden]
    num_used: int


class Layer(NamedTuple):
    """The weights of one layer; `query_norm` and `key_norm` normalise each head."""

    attention_norm: Tensor
    qkv: Matrix
    qkv_bias: Tensor | None
    query_norm: Tensor | None
    key_norm: Tensor | None
    output: Matrix
    feed_forward_norm: Tensor
    gate_up: Matrix | None  # [2 × hidden, width]: gates first
    down: Matrix | None
    experts: Experts | None


class Weights(NamedTuple):
    """All of a model. Activations are computed in `dtype`; what is carried from layer to layer stays in float32."""

    shape: Shape
    dtype: Any
    embedding: Tensor  # [vocabulary, width]
    layers: tuple[Layer, ...]
    norm: Tensor
    head: Matrix
    frequencies: Tensor  # [head size / 2], float32: radians a position


class Assembler:
    """Puts tensors that `read` returns where the kernels want them."""

    def __init__(self, shape: Shape, read: Read, device: Any, dtype: Any, name: WeightsName) -> None:
        """`shape.interleaved`: rows of queries and keys pair neighbours; they are reordered to pair halves."""
        self._shape, self._read, self._device, self._dtype, self._name = shape, read, device, dtype, name

    def weights(self, progress: Callable[[int, int], None] = lambda done, total: None) -> Weights:
        """Read everything; `progress` hears of each layer."""
        shape = self._shape
        embedding = self._plain(self._needed(Role.EMBEDDING))
        layers = []
        for layer in range(shape.layers):
            layers.append(self._layer(layer))
            progress(layer + 1, shape.layers)
        output = self._read(Role.OUTPUT, 0)
        head = self._tied(embedding) if output is None else self._matrix(output)
        return Weights(
            shape=shape,
            dtype=self._dtype,
            embedding=embedding,
            layers=tuple(layers),
            norm=self._vector(self._needed(Role.OUTPUT_NORM)),
            head=head,
            frequencies=self._frequencies(),
        )

    def _layer(self, layer: int) -> Layer:
        def optional(role: Role) -> Tensor | None:
            found = self._read(role, layer)
            return None if found is None else self._vector(found)

        rows = [self._heads(role, self._needed(role, layer)) for role in (Role.QUERY, Role.KEY, Role.VALUE)]
        biases = [self._read(role, layer) for role in (Role.QUERY_BIAS, Role.KEY_BIAS, Role.VALUE_BIAS)]
        is_mixture = self._shape.experts > 0
        return Layer(
            attention_norm=self._vector(self._needed(Role.ATTENTION_NORM, layer)),
            qkv=self._matrix(torch.cat(rows)),
            qkv_bias=None if biases[0] is None else self._vector(torch.cat(self._bias_heads(biases))),
            query_norm=optional(Role.QUERY_NORM),
            key_norm=optional(Role.KEY_NORM),
            output=self._matrix(self._needed(Role.ATTENTION_OUTPUT, layer)),
            feed_forward_norm=self._vector(self._needed(Role.FEED_FORWARD_NORM, layer)),
            gate_up=None if is_mixture else self._joined((Role.GATE, Role.UP), layer),
            down=None if is_mixture else self._matrix(self._needed(Role.DOWN, layer)),
            experts=self._experts(layer) if is_mixture else None,
        )

    def _experts(self, layer: int) -> Experts:
        return Experts(
            router=self._vector(self._needed(Role.ROUTER, layer)),
            gate_up=self._joined((Role.EXPERT_GATE, Role.EXPERT_UP), layer),
            down=self._matrix(self._needed(Role.EXPERT_DOWN, layer)),
            num_used=self._shape.experts_used,
        )

    def _needed(self, role: Role, layer: int = 0) -> Tensor:
        found = self._read(role, layer)
        assert found is not None, f"{role.name} of layer {layer} was checked to be there"
        return found

    def _joined(self, roles: tuple[Role, ...], layer: int) -> Matrix:
        return self._matrix(torch.cat([self._needed(role, layer) for role in roles], dim=-2))

    def _bias_heads(self, biases: list[Tensor | None]) -> list[Tensor]:
        roles = (Role.QUERY, Role.KEY, Role.VALUE)
        return [self._heads(role, bias) for role, bias in zip(roles, biases, strict=True) if bias is not None]

    def _heads(self, role: Role, rows: Tensor) -> Tensor:
        """Reorder the rows of each head so that a dimension's partner is half a head away."""
        if not self._shape.interleaved or role is Role.VALUE:
            return rows
        halves = rows.view(-1, self._shape.head_size // 2, 2, *rows.shape[1:])
        return halves.transpose(1, 2).reshape(rows.shape)

    def _vector(self, values: Tensor) -> Tensor:
        return values.to(self._device, torch.float32)

    def _plain(self, values: Tensor) -> Tensor:
        return values.to(self._dtype).to(self._device)

    def _matrix(self, values: Tensor) -> Matrix:
        if self._name == "bf16":
            return Matrix(self._plain(values))
        return quantized(values.to(self._device, torch.float32), self._name)

    def _tied(self, embedding: Tensor) -> Matrix:
        return Matrix(embedding) if self._name == "bf16" else quantized(embedding.float(), self._name)

    def _frequencies(self) -> Tensor:
        half = self._shape.head_size // 2
        powers = -torch.arange(half, dtype=torch.float64) / half
        frequencies = torch.exp(powers * math.log(self._shape.rope_base))
        factors = self._read(Role.ROPE_FACTORS, 0)
        return self._vector(frequencies if factors is None else frequencies / factors.double().flatten())


def quantized(values: Tensor, name: WeightsName) -> Matrix:
    """Return float `values` in 8 bits, one scale a row: the largest magnitude of a row becomes the largest code."""
    dtype, largest = QUANTIZED[name]
    scale = values.abs().amax(-1).clamp(min=1e-12) / largest
    codes = values / scale.unsqueeze(-1)
    return Matrix((codes.round() if name == "int8" else codes).to(dtype), scale)


def random_read(shape: Shape, device: Any, *, has_bias: bool, norms_heads: bool, is_tied: bool) -> Read:
    """Return a `Read` of random weights of the right scale, for timing: what they say means nothing."""
    normals = torch.randn(NUM_NORMALS, generator=torch.Generator(device).manual_seed(7), device=device)
    width, hidden = shape.embedding, shape.feed_forward
    queries, keys = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    several = (shape.experts,) if shape.experts else ()
    sizes: dict[Role, tuple[int, ...]] = {
        Role.EMBEDDING: (shape.vocabulary, width),
        Role.QUERY: (queries, width),
        Role.KEY: (keys, width),
        Role.VALUE: (keys, width),
        Role.ATTENTION_OUTPUT: (width, queries),
        (Role.EXPERT_GATE if several else Role.GATE): (*several, hidden, width),
        (Role.EXPERT_UP if several else Role.UP): (*several, hidden, width),
        (Role.EXPERT_DOWN if several else Role.DOWN): (*several, width, hidden),
    }
    sizes |= {} if is_tied else {Role.OUTPUT: (shape.vocabulary, width)}
    sizes |= {Role.ROUTER: (shape.experts, width)} if several else {}
    ones = {Role.OUTPUT_NORM: width, Role.ATTENTION_NORM: width, Role.FEED_FORWARD_NORM: width}
    ones |= {Role.QUERY_NORM: shape.head_size, Role.KEY_NORM: shape.head_size} if norms_heads else {}
    biases = {Role.QUERY_BIAS: queries, Role.KEY_BIAS: keys, Role.VALUE_BIAS: keys} if has_bias else {}

    def read(role: Role, layer: int) -> Tensor | None:
        if role in ones:
            return torch.ones(ones[role], device=device)
        if role in biases:
            return normals[: biases[role]] * 0.1
        if role not in sizes:
            return None
        count, start = math.prod(sizes[role]), (int(role) * 7919 + layer * 104_729) % NUM_NORMALS
        repeated = normals.roll(-start).repeat(-(-count // NUM_NORMALS))[:count]
        return repeated.view(sizes[role]) / math.sqrt(sizes[role][-1])

    return read
