"""Files that are written whole or not at all."""

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def replace_file(
    path: Path, data: bytes, *, is_synced: bool = False, prepare: Callable[[Path], None] = lambda path: None
) -> None:
    """Put a file with `data` in the place of `path`; readers see the old one or the new one.

    It has mode 0600 and its folder exists. `prepare` may change it before it is seen, such as its owner. `is_synced`:
    it outlives a loss of power, which takes some milliseconds. Raises OSError, and then leaves nothing.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    part = Path(name)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            if is_synced:
                file.flush()
                os.fsync(file.fileno())
        prepare(part)
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise
