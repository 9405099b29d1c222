"""Where model files live, and how they come into being: locked, resumable, verified, stamped, renamed.

Beside a finished file `X` lies `X.stamp`: the sha256 of its content together with the size and time it had
then, so that 490 MB are not hashed again at each start. `X.part` is a pull that can be resumed.
"""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import msgspec

from firesteel import config

DISK_RESERVE = 32 << 20  # bytes that a pull leaves free for everyone else
HASH_CHUNK = 1 << 20


class Progress(Protocol):
    """Called with bytes (or tensors) done, of how many, and what is being done."""

    def __call__(self, done: int, total: int, label: str) -> None:
        """Show it; called some thousand times for a pull, so be quick."""
        ...


def silent(done: int, total: int, label: str) -> None:
    """Show nothing."""


class Stamp(msgspec.Struct, frozen=True, kw_only=True):
    """What a finished file was when it was verified. `source` is set for files made from another one."""

    sha256: str
    bytes: int
    mtime_ns: int
    source: "Stamp | None" = None

    def matches(self, path: Path) -> bool:
        """Return whether `path` has the size and time that were stamped."""
        status = path.stat()
        return (self.bytes, self.mtime_ns) == (status.st_size, status.st_mtime_ns)


def folder() -> Path:
    """Return the folder of all model files; it may not exist yet."""
    return config.home().absolute() / "models"


def beside(path: Path, suffix: str) -> Path:
    """Return the companion of `path` whose name ends in `suffix`."""
    return path.with_name(path.name + suffix)


def read_stamp(path: Path) -> Stamp | None:
    """Return the stamp of `path` if the file still is what it was when it was stamped."""
    try:
        stamp = msgspec.json.decode(beside(path, ".stamp").read_bytes(), type=Stamp)
        return stamp if stamp.matches(path) else None
    except (OSError, msgspec.DecodeError):
        return None


def stamp_of(path: Path, sha256: str, source: Stamp | None = None) -> Stamp:
    """Return a stamp for `path` as it is now."""
    status = path.stat()
    return Stamp(sha256=sha256, bytes=status.st_size, mtime_ns=status.st_mtime_ns, source=source)


def write_stamp(path: Path, stamp: Stamp) -> None:
    """Write the stamp of `path`. In a read-only folder it is not kept, which costs a hash at each start."""
    with suppress(OSError):
        beside(path, ".stamp").write_bytes(msgspec.json.encode(stamp))


def sha256_of(path: Path, progress: Progress = silent) -> str:
    """Return the SHA-256 of a file in hexadecimal (about 1 s for 490 MB)."""
    digest, total, done = hashlib.sha256(), path.stat().st_size, 0
    with path.open("rb") as file:
        while chunk := file.read(HASH_CHUNK):
            digest.update(chunk)
            done += len(chunk)
            progress(done, total, "verifying")
    return digest.hexdigest()


def is_intact(path: Path, num_bytes: int | None, sha256: str | None) -> bool:
    """Return whether `path` is the wanted file; one that was put there by hand is hashed once and stamped."""
    stamp = read_stamp(path)
    if stamp is not None:
        return sha256 is None or stamp.sha256 == sha256
    if sha256 is None or not path.is_file() or path.stat().st_size != num_bytes:
        return False
    if sha256_of(path) != sha256:
        return False
    write_stamp(path, stamp_of(path, sha256))
    return True


def require_space(where: Path, needed: int) -> None:
    """Raise `OSError(ENOSPC)` that says how much is missing, unless `needed` bytes and a reserve are free."""
    free = shutil.disk_usage(where).free
    if free < needed + DISK_RESERVE:
        raise OSError(errno.ENOSPC, f"{megabytes(needed + DISK_RESERVE)} are needed, {megabytes(free)} are free")


def megabytes(count: int) -> str:
    """Return a number of bytes as people write it."""
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count} bytes"


@contextmanager
def locked(path: Path, progress: Progress) -> Iterator[None]:
    """Hold the lock of `path` among all processes; while another one holds it, say so every second."""
    from filelock import FileLock, Timeout  # 30 ms that only a pull pays

    locks = path.parent / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    lock = FileLock(locks / f"{path.name}.lock")
    while True:
        try:
            lock.acquire(timeout=1)
            break
        except Timeout:
            progress(0, 0, f"waiting for another process that makes {path.name}")
    try:
        yield
    finally:
        lock.release()


class Partial:
    """The growing `.part` of one file. Whoever opens it holds the file's lock."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = beside(target, ".part")
        self.file = self.path.open("ab")
        self.size = self.file.tell()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.file.close()
        if self.path.exists() and self.path.stat().st_size == 0:
            self.path.unlink()

    def append(self, data: bytes) -> None:
        """Add `data` at the end. Raises `OSError`, such as when the disk is full."""
        self.file.write(data)
        self.size += len(data)

    def cut(self, size: int) -> None:
        """Keep the first `size` bytes only."""
        self.file.truncate(size)
        self.size = size

    def sha256(self, progress: Progress = silent) -> str:
        """Return the SHA-256 of what is there."""
        self.file.flush()
        return sha256_of(self.path, progress)

    def commit(self, sha256: str) -> None:
        """Make it the finished file, durably and in one step, and stamp it."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        self.path.replace(self.target)
        write_stamp(self.target, stamp_of(self.target, sha256))
