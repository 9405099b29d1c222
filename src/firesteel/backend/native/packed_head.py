"""Where the packed copy of a model's weights lies, and what its first page says; without numpy.

The server process asks whether there is one, and has no other use for numpy, which takes 13 MB.
"""

import hashlib
import os
from contextlib import suppress
from pathlib import Path

import msgspec

from firesteel import config
from firesteel.backend.llamacpp.fingerprint import identity as identity_of
from firesteel.backend.native import library
from firesteel.backend.native.description import Q8_0, Description, Role
from firesteel.errors import ModelError

HEAD_BYTES = 4096
ALIGNMENT = 64


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What stands before the packed tensors."""

    layout: int  # `fs_layout_version`
    source: str  # path of the model file
    model: str  # its identity
    bytes: int  # behind the head
    digests: list[str]


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a part lies among the packed bytes; for experts the first, the others follow at equal distances."""

    base: int
    base_bytes: int  # of one expert
    plane: int
    plane_bytes: int
    slack: int | None


def folder() -> Path:
    """Return the folder of packed copies; it may not exist yet."""
    return config.home().absolute() / "packed"


def path_for(model: Path) -> Path:
    """Return where the packed copy of a model file lies: one for each path."""
    name = hashlib.sha256(os.fsencode(model.absolute())).hexdigest()[:12]
    return folder() / f"{model.stem}-{name}.packed"


def plan(description: Description) -> tuple[dict[int, Place], int]:
    """Return the place of each packed part, by identity, and the bytes of all."""
    places, end = {}, 0
    for part in description.parts:
        if not part.is_packed:
            continue
        shape = (part.format, part.rows, part.columns)
        base_bytes = aligned(library.load().fs_base_bytes(*shape))
        plane_bytes = aligned(library.load().fs_plane_bytes(*shape))
        base, plane = end, end + base_bytes * part.experts
        end = plane + plane_bytes * part.experts
        slack = end if part.role is Role.OUTPUT and part.format == Q8_0 else None
        end += aligned(4 * -(-part.rows // 16) * 16) if slack is not None else 0
        places[id(part)] = Place(base=base, base_bytes=base_bytes, plane=plane, plane_bytes=plane_bytes, slack=slack)
    return places, end


def aligned(size: int) -> int:
    """Return `size` rounded up to the alignment."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def is_packed(model: str, description: Description) -> bool:
    """Return whether a copy that belongs to the file `model` is on disk, or none is needed; its bytes are not checked.

    Raises ModelError when the file cannot be read.
    """
    _, size = plan(description)
    try:
        return not size or read_head(path_for(Path(model)), identity_of(model), size) is not None
    except OSError as error:
        raise unreadable(model, error) from error


def unreadable(model: str, error: OSError) -> ModelError:
    """Return what is said about a model file that cannot be read."""
    return ModelError(f"{model} cannot be read: {error.strerror or error}")


def kept() -> list[Path]:
    """Return the packed copies on disk."""
    return sorted(folder().glob("*.packed"))


def remove_orphans() -> None:
    """Delete the copies whose model file is gone."""
    for path in kept():
        with suppress(OSError, msgspec.DecodeError):
            with path.open("rb") as file:
                head = msgspec.json.decode(file.read(HEAD_BYTES).rstrip(b"\0"), type=Head)
            if not Path(head.source).exists():
                path.unlink()


def read_head(path: Path, identity: str, size: int) -> Head | None:
    """Return the head of a packed copy, or None when there is none or it is of another file or layout."""
    try:
        with path.open("rb") as file:
            head = msgspec.json.decode(file.read(HEAD_BYTES).rstrip(b"\0"), type=Head)
    except (OSError, msgspec.DecodeError):
        return None
    expected = (library.load().fs_layout_version(), identity, size)
    return head if (head.layout, head.model, head.bytes) == expected else None
