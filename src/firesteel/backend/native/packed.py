"""The packed copy of a model's weights: made once, kept on disk, mapped, checked by a checksum at each start.

A file holds one page of JSON (`Head`) and then the packed tensors, each at a multiple of 64 bytes, in the order of the
description. It belongs to one model file as it was: another content, or another layout of this code, is packed anew.
"""

import ctypes
import mmap
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from firesteel.backend.llamacpp.fingerprint import identity as identity_of
from firesteel.backend.native import library
from firesteel.backend.native.description import Description, Part
from firesteel.backend.native.packed_head import ALIGNMENT, Head, Place, plan, read_head, remove_orphans, unreadable
from firesteel.backend.native.packed_head import HEAD_BYTES as HEAD_BYTES
from firesteel.backend.native.packed_head import folder as folder
from firesteel.backend.native.packed_head import kept as kept
from firesteel.backend.native.packed_head import path_for as path_for
from firesteel.models import files
from firesteel.models.files import Progress, silent

PAGE = 64 << 20  # bytes that one checksum covers
ROWS_AT_ONCE = 1024  # a matrix is packed in pieces by several threads; a multiple of 16

Bytes = npt.NDArray[np.uint8]


class Packed:
    """Packed weights in memory; `address` gives where a part is."""

    def __init__(self, data: Bytes, places: dict[int, Place]) -> None:
        self._data = data
        self._places = places

    def place(self, part: Part) -> Place | None:
        """Return where a packed part lies; None for one that is not packed."""
        return self._places.get(id(part))

    def address(self, offset: int) -> int:
        """Return the address of a byte."""
        return int(self._data.ctypes.data) + offset


def load(model: Path, identity: str, description: Description, source: Bytes, progress: Progress = silent) -> Packed:
    """Return the packed weights of a model whose file's bytes are `source`: from disk, or packed now and kept there.

    Where the disk cannot take them they stay in memory. Packing takes about a second for 300 MB.
    """
    places, size = plan(description)
    if not size:
        return Packed(np.zeros(ALIGNMENT, np.uint8), {})
    path = path_for(model)
    data = read(path, identity, size)
    if data is None:
        with suppress(OSError):  # a read-only or full disk
            path.parent.mkdir(parents=True, exist_ok=True)
            with files.locked(path, progress):
                data = read(path, identity, size)  # another process may have been faster
                if data is None:
                    remove_orphans()
                    write(path, str(model.absolute()), identity, description, places, size, source, progress)
                    data = read(path, identity, size)
    if data is None:
        data = np.zeros(size, np.uint8)
        pack_all(description, places, source, data, progress)
    return Packed(data, places)


def prepare(model: str, description: Description, progress: Progress) -> None:
    """Pack the weights of the file `model` and keep them on disk. Raises ModelError when the file cannot be read."""
    try:
        load(Path(model), identity_of(model), description, map_source(model), progress)
    except OSError as error:
        raise unreadable(model, error) from error


def map_source(model: str) -> Bytes:
    """Return the bytes of a model file, mapped. Raises OSError."""
    with open(model, "rb") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)


def remove_all() -> int:
    """Delete all packed copies; they are made again when they are needed. Return the bytes that were freed."""
    removed = 0
    for path in kept():
        removed += path.stat().st_size
        path.unlink(missing_ok=True)
    return removed


def read(path: Path, identity: str, size: int) -> Bytes | None:
    """Return the mapped bytes of a packed copy, or None when there is none, it is of another file, or damaged."""
    head = read_head(path, identity, size)
    if head is None:
        return None
    try:
        data = map_source(str(path))[HEAD_BYTES:]
    except (OSError, ValueError):
        return None
    return data if data.size == size and digests(data) == head.digests else None


def digests(data: Bytes) -> list[str]:
    """Return the checksums of `data`, one for each piece of 64 MB."""

    def digest(start: int) -> str:
        piece = data[start : start + PAGE]
        return f"{library.load().fs_digest(piece.ctypes.data, piece.size):016x}"

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return list(threads.map(digest, range(0, data.size, PAGE)))


def write(
    path: Path,
    source_path: str,
    identity: str,
    description: Description,
    places: dict[int, Place],
    size: int,
    source: Bytes,
    progress: Progress,
) -> None:
    """Pack all parts into a new file at `path`. Raises OSError; a failure leaves nothing."""
    files.require_space(path.parent, HEAD_BYTES + size)
    part_path = files.beside(path, ".part")
    try:
        with part_path.open("w+b") as file:
            os.chmod(file.fileno(), 0o600)
            file.truncate(HEAD_BYTES + size)
            mapped = mmap.mmap(file.fileno(), 0)
            data = np.frombuffer(mapped, np.uint8)[HEAD_BYTES:]
            pack_all(description, places, source, data, progress)
            layout = library.load().fs_layout_version()
            head = Head(layout=layout, source=source_path, model=identity, bytes=size, digests=digests(data))
            encoded = msgspec.json.encode(head)
            mapped[: len(encoded)] = encoded
            mapped.flush()
        part_path.replace(path)
    finally:
        part_path.unlink(missing_ok=True)


def pack_all(
    description: Description, places: dict[int, Place], source: Bytes, data: Bytes, progress: Progress
) -> None:
    """Pack every part from the file's bytes `source` into zeroed `data`, by as many threads as there are cores."""
    jobs = [job for part in description.parts if id(part) in places for job in pieces(part, places[id(part)])]
    total, done = sum(job[1] for job in jobs), 0

    def pack(job: "Piece") -> int:
        library.load().fs_pack(
            *job[2:5], *(address(source if index == 0 else data, offset) for index, offset in job[5])
        )
        return job[1]

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for count in threads.map(pack, jobs):
            done += count
            progress(done, total, "packing weights")


Piece = tuple[Part, int, int, int, int, list[tuple[int, int | None]]]


def address(data: Bytes, offset: int | None) -> ctypes.c_void_p | None:
    """Return the address of a byte of `data`; None for None."""
    return None if offset is None else ctypes.c_void_p(int(data.ctypes.data) + offset)


def pieces(part: Part, place: Place) -> Iterator[Piece]:
    """Yield what to pack, some rows of one expert at a time: (part, bytes, format, rows, columns, places)."""
    row_bytes = part.bytes // (part.rows * part.experts)
    base_bytes, plane_bytes = (
        size(part.format, ROWS_AT_ONCE, part.columns)
        for size in (library.load().fs_base_bytes, library.load().fs_plane_bytes)
    )
    for expert in range(part.experts):
        for index, first in enumerate(range(0, part.rows, ROWS_AT_ONCE)):
            rows = min(ROWS_AT_ONCE, part.rows - first)
            offsets = [
                (0, part.offset + (expert * part.rows + first) * row_bytes),
                (1, place.base + expert * place.base_bytes + index * base_bytes),
                (1, place.plane + expert * place.plane_bytes + index * plane_bytes),
                (1, None if place.slack is None else place.slack + 4 * first),
            ]
            yield part, rows * row_bytes, part.format, rows, part.columns, offsets
