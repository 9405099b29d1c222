"""A safe reader of GGUF headers (versions 2 and 3, little-endian).

Specification: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Own code because llama.cpp aborts
the process on hostile files and the PyPI `gguf` reader takes seconds on a vocabulary of 152k. Arrays are
skipped, never stored; every length is checked against what the file still holds before it is believed.
"""

import math
import mmap
import struct
from pathlib import Path

import msgspec

from firesteel.errors import ModelError
from firesteel.types import ModelInfo, Sampling

Value = int | float | str | None

MAX_ENTRIES = 1 << 16  # metadata entries, and tensors; the largest real models hold some thousands
MAX_STRING = 1 << 24  # bytes of one string; the longest chat templates have some 20 kB
MAX_DIMENSIONS = 4  # GGML_MAX_DIMS

STRING, ARRAY = 8, 9
SCALAR_CODES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
SCALARS = {kind: struct.Struct(f"<{code}") for kind, code in SCALAR_CODES.items()}
UINT32, UINT64 = SCALARS[4], SCALARS[10]

BLOCKS = {  # ggml type: (weights in a block, bytes of a block), as libggml's own tables say
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82),
    23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2),
    34: (256, 54), 35: (256, 66), 39: (32, 17), 40: (64, 36), 41: (128, 18), 42: (64, 18),
}  # fmt: skip
UNKNOWN_BLOCK = (8, 1)  # of a type newer than this table: one bit a weight, less than any type needs


class Tensor(msgspec.Struct, frozen=True):
    """One tensor: `offset` counts from the start of the data; for unknown types `bytes` is a lower bound."""

    name: str
    dimensions: tuple[int, ...]
    type: int
    offset: int
    bytes: int


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What stands before the weights: scalar and string metadata, and the tensors' descriptions."""

    metadata: dict[str, int | float | str]
    tensors: tuple[Tensor, ...]
    file_bytes: int
    data_offset: int = 0  # where the tensors' offsets count from

    @property
    def tensor_bytes(self) -> int:
        """Bytes of all weights together."""
        return sum(tensor.bytes for tensor in self.tensors)

    @property
    def num_parameters(self) -> int:
        """How many weights the file holds."""
        return sum(math.prod(tensor.dimensions) for tensor in self.tensors)


class Cursor:
    """A position in the file's bytes that refuses to leave them."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.end = len(data)
        self.position = 0

    def take(self, count: int) -> int:
        """Move `count` bytes on and return where they began."""
        start = self.position
        if count > self.end - start:
            raise ModelError(f"the file is cut off: {count} bytes are announced at byte {start} of {self.end}")
        self.position = start + count
        return start

    def scalar(self, kind: struct.Struct) -> int | float:
        """Return the number that stands here."""
        number: int | float = kind.unpack_from(self.data, self.take(kind.size))[0]
        return number

    def integer(self, kind: struct.Struct) -> int:
        """Return the number of an integer type that stands here."""
        return int(self.scalar(kind))

    def count(self, what: str, most: int) -> int:
        """Return a 64-bit count that may not exceed `most`."""
        number = self.integer(UINT64)
        if number > most:
            raise ModelError(f"the file announces {number} {what}; more than {most} are not believed")
        return number

    def string(self) -> str:
        """Return the string that stands here; bytes that are not UTF-8 are replaced."""
        length = self.count("bytes in one string", MAX_STRING)
        start = self.take(length)
        return self.data[start : start + length].decode(errors="replace")

    def value(self, kind: int) -> Value:
        """Return the metadata value of type `kind` that stands here, `None` for an array."""
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            self.skip_array()
            return None
        if kind not in SCALARS:
            raise ModelError(f"metadata type {kind} at byte {self.position} is not known to GGUF 3")
        return self.scalar(SCALARS[kind])

    def skip_array(self) -> None:
        """Move behind the array that stands here. 0.2 µs per string: a vocabulary of 152k costs 60 ms."""
        kind = self.integer(UINT32)
        length = self.count("array elements", self.end)
        if kind in SCALARS:
            self.take(length * SCALARS[kind].size)
            return
        if kind != STRING:
            raise ModelError(f"arrays of type {kind} at byte {self.position} are not supported")
        read, data, position, end = UINT64.unpack_from, self.data, self.position, self.end - 8
        for _ in range(length):
            if position > end:
                raise ModelError(f"the file is cut off in an array of strings at byte {position}")
            position += 8 + read(data, position)[0]
        self.position = position
        self.take(0)


def read_header(path: Path) -> Header:
    """Return the header of a GGUF file. Raises `ModelError` where it is missing, damaged or not GGUF."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return parse(data)
    except ModelError as error:
        raise ModelError(f"{path} cannot be read as GGUF: {error}") from None
    except (OSError, ValueError) as error:  # ValueError: mmap of an empty file
        raise ModelError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def parse(data: mmap.mmap) -> Header:
    """Return the header that `data`, a whole file, begins with."""
    if data[:4] != b"GGUF":
        raise ModelError("it does not begin with the letters GGUF")
    cursor = Cursor(data)
    cursor.take(4)
    version = cursor.integer(UINT32)
    if version not in (2, 3):
        kind = "big-endian" if version & 0xFFFF == 0 else "version"
        raise ModelError(f"its version is {version:#x} ({kind} not supported; convert it to GGUF 3)")
    num_tensors = cursor.count("tensors", MAX_ENTRIES)
    metadata = read_metadata(cursor, cursor.count("metadata entries", MAX_ENTRIES))
    tensors = tuple(read_tensor(cursor) for _ in range(num_tensors))
    start = check_weights(tensors, cursor, metadata.get("general.alignment", 32))
    return Header(metadata=metadata, tensors=tensors, file_bytes=len(data), data_offset=start)


def read_metadata(cursor: Cursor, count: int) -> dict[str, int | float | str]:
    """Return `count` key-value pairs; arrays are left out."""
    metadata: dict[str, int | float | str] = {}
    for _ in range(count):
        key = cursor.string()
        value = cursor.value(cursor.integer(UINT32))
        if value is not None:
            metadata[key] = value
    return metadata


def read_tensor(cursor: Cursor) -> Tensor:
    """Return the tensor description that stands here."""
    name = cursor.string()
    num_dimensions = cursor.integer(UINT32)
    if num_dimensions > MAX_DIMENSIONS:
        raise ModelError(f"tensor {name[:64]!r} has {num_dimensions} dimensions; GGML knows {MAX_DIMENSIONS}")
    dimensions = tuple(cursor.integer(UINT64) for _ in range(num_dimensions))
    kind, offset = cursor.integer(UINT32), cursor.integer(UINT64)
    weights, size = BLOCKS.get(kind, UNKNOWN_BLOCK)
    return Tensor(name, dimensions, kind, offset, math.prod(dimensions) // weights * size)


def check_weights(tensors: tuple[Tensor, ...], cursor: Cursor, alignment: object) -> int:
    """Return where the weights begin. Raises `ModelError` unless all of them lie inside the file."""
    if not isinstance(alignment, int) or alignment <= 0:
        raise ModelError(f"general.alignment is {alignment!r}; it must be a positive integer")
    start = -(-cursor.position // alignment) * alignment
    needed = max((start + tensor.offset + tensor.bytes for tensor in tensors), default=0)
    if needed > cursor.end:
        raise ModelError(f"the file is cut off: its weights need {needed} bytes, it has {cursor.end}")
    return start


def read_info(path: Path) -> ModelInfo:
    """Return what the model file at `path` says about itself. Raises `ModelError`."""
    return describe_file(path)[1]


def describe_file(path: Path) -> tuple[Header, ModelInfo]:
    """Return the header of the model file at `path`, and what it says. Raises `ModelError`."""
    header = read_header(path)
    try:
        return header, describe(header, path)
    except ModelError as error:
        raise ModelError(f"{path} cannot be used: {error}") from None


def describe(header: Header, path: Path) -> ModelInfo:
    """Return the `ModelInfo` of a header that was read from `path`. Raises `ModelError`."""
    metadata = header.metadata
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str):
        raise ModelError("it does not say its architecture (general.architecture)")
    context = read_context(metadata, architecture)
    template = metadata.get("tokenizer.chat_template")
    return ModelInfo(
        name=path.stem,  # `general.name` is often the training run's ("Smollm2 135M 8k Lc100K Mix1 Ep2")
        architecture=architecture,
        context_length=context.limit,
        chat_template=template if isinstance(template, str) else None,
        sampling=read_sampling(metadata),
        num_parameters=header.num_parameters,
        file_bytes=header.file_bytes,
        path=str(path),
    )


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """How many tokens a model takes."""

    trained: int  # without any scaling of its positions
    limit: int  # as the file documents it, its own scaling included
    scaling: str | None  # rope scaling that the file asks for: yarn, linear, longrope; llama.cpp applies it itself


def read_context(metadata: dict[str, int | float | str], architecture: str) -> Context:
    """Return the context that the file documents. Raises `ModelError` when it says none.

    Files that document YaRN (arXiv 2309.00071) give the length as trained or as stretched; the longer one counts.
    """
    length = metadata.get(f"{architecture}.context_length")
    if type(length) is not int or length <= 0:
        raise ModelError(f"it does not say its context length ({architecture}.context_length)")
    scaling = metadata.get(f"{architecture}.rope.scaling.type")
    if not isinstance(scaling, str) or scaling == "none":
        return Context(trained=length, limit=length, scaling=None)
    original = metadata.get(f"{architecture}.rope.scaling.original_context_length")
    factor = metadata.get(f"{architecture}.rope.scaling.factor")
    trained = original if type(original) is int and 0 < original < length else length
    if scaling == "yarn" and isinstance(factor, int | float) and type(original) is int:
        length = max(length, int(original * factor))
    return Context(trained=trained, limit=length, scaling=scaling)


def read_sampling(metadata: dict[str, int | float | str]) -> Sampling:
    """Return the generation settings that the file recommends (`general.sampling.*`), else our defaults."""

    def setting(key: str, default: float, least: float, most: float) -> float:
        value = metadata.get(f"general.sampling.{key}", default)
        if isinstance(value, str | bool) or not least <= value <= most:
            raise ModelError(f"general.sampling.{key} is {value!r}; it must lie between {least:g} and {most:g}")
        return float(value)

    ours = Sampling()
    return Sampling(
        temperature=setting("temp", ours.temperature, 0, 100),
        top_k=max(0, int(setting("top_k", ours.top_k, -1, 1 << 31))),  # llama.cpp: 0 and less are off
        top_p=setting("top_p", ours.top_p, 0, 1),
        min_p=setting("min_p", ours.min_p, 0, 1),
    )
