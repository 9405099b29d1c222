"""Copies a GGUF file with its first blocks only: a stand-in for a smaller model of the same family.

    .venv/bin/python benchmarks/truncate_layers.py IN.gguf OUT.gguf --layers 6

A stand-in and no more: nobody trained the copy, so its guesses are mostly wrong. It has the vocabulary, the head
and the speed of a model of that size, which is what measuring the price of a draft model needs. Only the header
changes (`*.block_count`, and the tensors that go); what stays is copied byte for byte.
"""

import argparse
import mmap
import struct
from pathlib import Path

from firesteel.models import gguf

BLOCK = "blk."
COUNT = ".block_count"


def truncate(data: mmap.mmap, num_layers: int, target: Path) -> None:
    """Write the copy. Raises `ModelError` for a file that is no GGUF, SystemExit where it has too few blocks."""
    cursor = gguf.Cursor(data)
    cursor.take(8)  # the letters GGUF, and the version
    num_tensors = cursor.integer(gguf.UINT64)
    num_entries = cursor.integer(gguf.UINT64)
    entries = cursor.position
    alignment, patches = read_entries(cursor, num_entries, num_layers)
    end_of_entries = cursor.position
    tensors = [gguf.read_tensor(cursor) for _ in range(num_tensors)]
    start = padded(cursor.position, alignment)
    kept = [tensor for tensor in tensors if is_kept(tensor, num_layers)]
    metadata = bytearray(data[entries:end_of_entries])
    for position in patches:
        struct.pack_into("<I", metadata, position - entries, num_layers)
    descriptions, places = describe(kept, alignment)
    with target.open("wb") as out:
        out.write(data[:8] + struct.pack("<QQ", len(kept), num_entries) + metadata + descriptions)
        base = padded(out.tell(), alignment)
        for tensor, place in zip(kept, places, strict=True):
            out.write(b"\0" * (base + place - out.tell()))
            out.write(data[start + tensor.offset : start + tensor.offset + tensor.bytes])
        out.write(b"\0" * (padded(out.tell(), alignment) - out.tell()))


def read_entries(cursor: gguf.Cursor, count: int, num_layers: int) -> tuple[int, list[int]]:
    """Walk over the metadata; return the alignment, and where the numbers of blocks stand."""
    alignment, patches = 32, []
    for _ in range(count):
        key, kind = cursor.string(), cursor.integer(gguf.UINT32)
        position = cursor.position
        value = cursor.value(kind)
        if key == "general.alignment":
            alignment = int(value or alignment)
        if key.endswith(COUNT):
            if kind != 4 or not isinstance(value, int) or value < num_layers:  # 4: a 32-bit unsigned integer
                raise SystemExit(f"{key} is {value}; it cannot become {num_layers}")
            patches.append(position)
    if not patches:
        raise SystemExit(f"no *{COUNT} in the metadata")
    return alignment, patches


def is_kept(tensor: gguf.Tensor, num_layers: int) -> bool:
    """Return whether a tensor belongs to no block, or to one of the first."""
    return not tensor.name.startswith(BLOCK) or int(tensor.name.split(".")[1]) < num_layers


def describe(tensors: list[gguf.Tensor], alignment: int) -> tuple[bytes, list[int]]:
    """Return the descriptions of `tensors`, one behind the other, and their new offsets."""
    out, places, place = bytearray(), [], 0
    for tensor in tensors:
        name = tensor.name.encode()
        out += struct.pack("<Q", len(name)) + name + struct.pack("<I", len(tensor.dimensions))
        out += struct.pack(f"<{len(tensor.dimensions)}QIQ", *tensor.dimensions, tensor.type, place)
        places.append(place)
        place = padded(place + tensor.bytes, alignment)
    return bytes(out), places


def padded(number: int, multiple: int) -> int:
    """Return `number` rounded up to a multiple."""
    return -(-number // multiple) * multiple


def main() -> None:
    """Read the command line, copy and check that the copy can be read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--layers", type=int, default=6, help="blocks that stay")
    arguments = parser.parse_args()
    with arguments.source.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        truncate(data, arguments.layers, arguments.target)
    info = gguf.read_info(arguments.target)
    print(f"{arguments.target}: {arguments.layers} blocks, {info.num_parameters:,} weights, {info.file_bytes:,} bytes")
    print("a stand-in for a smaller model: it was never trained, so its guesses are mostly wrong")


if __name__ == "__main__":
    main()
