"""Files that are written whole or not at all."""

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

Prepare = Callable[[int, int], None]


def replace_file(path: Path, data: bytes, *, is_synced: bool = False, prepare: Prepare | None = None) -> None:
    """Put a file with `data` in the place of `path`; readers see the old one or the new one.

    It has mode 0600 and its folder exists. `prepare` may change it before it is seen, such as its owner: see
    `create_in`. `is_synced`: it outlives a loss of power, which takes some milliseconds. Raises OSError, and then
    leaves nothing.
    """
    part = f".{path.name}.{secrets.token_hex(8)}.part"
    with opened_folder(path.parent) as folder:
        try:
            with open(create_in(folder, part), "wb") as file:
                file.write(data)
                file.flush()
                if prepare is not None:
                    prepare(file.fileno(), folder)
                if is_synced:
                    os.fsync(file.fileno())
            os.replace(part, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(part, dir_fd=folder)
            raise


@contextmanager
def opened_folder(path: Path) -> Iterator[int]:
    """Give a descriptor of a folder, which stays the same one whatever its path comes to name."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def create_in(folder: int, name: str) -> int:
    """Make a file of mode 0600 that is not there yet, by the descriptor of its folder; return its own.

    Root changes files of others by descriptors only: who owns a folder may at any time put a link where a file was.
    """
    return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
