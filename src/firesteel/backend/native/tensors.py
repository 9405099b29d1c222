"""Turns a description and addresses into the structs that the kernels are opened with."""

import ctypes
import os

from firesteel.backend.base import Capabilities
from firesteel.backend.native.description import Description, Part, Role, Shape
from firesteel.backend.native.library import Matrix, Settings, TensorEntry
from firesteel.backend.native.packed import Packed
from firesteel.backend.native.pages import CODE_BYTES, num_pages


def settings_of(shape: Shape, capabilities: Capabilities, kv_type: str, threads: int) -> Settings:
    """Return the `Settings` of an engine."""
    return Settings(
        layers=shape.layers,
        embedding=shape.embedding,
        heads=shape.heads,
        kv_heads=shape.kv_heads,
        head_size=shape.head_size,
        feed_forward=shape.feed_forward,
        vocabulary=shape.vocabulary,
        experts=shape.experts,
        experts_used=shape.experts_used,
        normalise_experts=1,
        interleaved=shape.interleaved,
        epsilon=shape.epsilon,
        rope_base=shape.rope_base,
        code_bytes=CODE_BYTES[kv_type],
        num_pages=num_pages(capabilities.num_cells, capabilities.max_sequences),
        num_sequences=capabilities.max_sequences,
        max_rows=capabilities.max_rows,
        max_wanted=capabilities.max_wanted_rows,
        threads=threads,
        pin=os.environ.get("FIRESTEEL_PIN_THREADS", "0") == "1",
    )


def layer_bytes(description: Description, packed: Packed) -> int:
    """Return the bytes of layers' weights that a step reads; of experts those that one token uses."""
    shape, total = description.shape, 0
    for part in description.parts:
        if part.role in (Role.EMBEDDING, Role.OUTPUT):
            continue
        place = packed.place(part)
        each = part.bytes // part.experts if place is None else place.base_bytes + place.plane_bytes
        total += each * (min(part.experts, shape.experts_used) if part.experts > 1 else 1)
    return total


def tensor_entries(description: Description, packed: Packed, source: int) -> "ctypes.Array[TensorEntry]":
    """Return an entry for each part; `source` is the address of the mapped model file."""
    entries = [_entry(part, packed, source) for part in description.parts]
    return (TensorEntry * len(entries))(*entries)


def _entry(part: Part, packed: Packed, source: int) -> TensorEntry:
    place = packed.place(part)
    if place is None:
        matrix = Matrix(part.format, part.rows, part.columns, source + part.offset, None, None)
        return TensorEntry(part.role, part.layer, matrix, part.bytes // part.experts, 0)
    matrix = Matrix(
        part.format,
        part.rows,
        part.columns,
        packed.address(place.base),
        packed.address(place.plane) if place.plane_bytes else None,
        None if place.slack is None else packed.address(place.slack),
    )
    return TensorEntry(part.role, part.layer, matrix, place.base_bytes, place.plane_bytes)
