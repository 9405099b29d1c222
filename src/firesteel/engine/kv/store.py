"""Blocks of KV on disk: found again after a restart, bounded in size and age, never trusted unverified.

The time of a file is the time of its last use, a microsecond earlier for each position: a use of a block is one of
all before it, so the oldest file of a folder is always one that no younger one follows. Whoever removes the oldest
first, of whatever model, therefore never cuts a prefix in the middle.
"""

import logging
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from firesteel.backend.base import State
from firesteel.engine.kv import file

RETRY_SECONDS = 30.0  # after a failed write
TIDY_SHARE = 16  # the folder is looked at again after each sixteenth of its bound that was written
NS_PER_POSITION = 1_000

log = logging.getLogger("firesteel")


class BlockFile(msgspec.Struct, frozen=True, eq=False):
    """A block on disk; `position` is that of its first token, `num_bytes` the size of its KV."""

    id: str
    parent: str  # "" for the first block
    scope: str
    position: int
    tokens: npt.NDArray[np.int32]  # [num_tokens]
    num_bytes: int
    used_at: float


class _Entry(msgspec.Struct):
    """A file: its size and time, and where it stands if its header was read."""

    num_bytes: int
    time_ns: int
    parent: Path | None = None
    position: int = 0


def identify(scope: str, parent: str, tokens: npt.NDArray[np.int32]) -> str:
    """Return the id of the block of `tokens` that follows `parent`, "" for none."""
    return file.block_id(scope, parent, _encoded(tokens))


def _encoded(tokens: npt.NDArray[np.int32]) -> bytes:
    return np.asarray(tokens, dtype="<i4").tobytes()


class BlockStore:
    """The files of one fingerprint, in a folder that other processes and other models may use too.

    Owned by one thread. `on_removed` is told the ids that are not on disk any more, for a reason of the disk's own.
    """

    def __init__(
        self,
        folder: Path,
        fingerprint: str,
        *,
        max_bytes: int,
        max_seconds: float,
        now: Callable[[], float] = time.time,
        model: str = "",
        retry_seconds: float = RETRY_SECONDS,
        on_removed: Callable[[list[str]], None] = lambda ids: None,
    ) -> None:
        self.folder = folder  # of all models
        self.path = folder / file.store_name(fingerprint)
        self.num_bytes = 0  # of all models, as far as known
        self.on_removed = on_removed
        self._about = file.About(model, fingerprint)
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds
        self._now = now
        self._retry_seconds = retry_seconds
        self._failed_at: float | None = None
        self._entries: dict[Path, _Entry] = {}
        self._oldest: list[tuple[int, Path]] = []  # the next to go, the oldest last; entries may be out of date
        self._removed: list[str] = []
        self._unreadable: set[Path] = set()  # told about once
        self._until_tidy = 0

    def scan(self) -> list[BlockFile]:
        """Return the blocks that may be read, parents before children; remove what nobody can use."""
        with suppress(OSError):
            self.path.chmod(0o700)
        self.tidy()
        headers = {path: header for path in list(self._entries) if (header := self._header(path))}
        blocks: dict[Path, BlockFile] = {}
        for path, header in sorted(headers.items(), key=lambda item: item[1].position):
            parent = self._path(header.parent) if header.parent else None
            if parent is not None and parent not in blocks:
                if not parent.exists():  # else another process has just written it
                    self._remove(path)
                continue
            self._entries[path].parent, self._entries[path].position = parent, header.position
            blocks[path] = self._block(path, header)
        self._report()
        return list(blocks.values())

    def read(self, id: str) -> bytes | None:
        """Return the KV of a block as it was written, else None: not here, or damaged, and then removed."""
        path = self._path(id)
        try:
            return file.read_payload(path)
        except (file.Damaged, OSError) as error:
            self._reject(path, error)
            self._report()
            return None

    def write(self, scope: str, parent: str, position: int, tokens: npt.NDArray[np.int32], state: State) -> str | None:
        """Store a block and return its id. None when that is not possible now; the reason is logged.

        A block whose parent is not on disk is not written: nobody could find it.
        """
        encoded_tokens = _encoded(tokens)
        id = file.block_id(scope, parent, encoded_tokens)
        path, parent_path = self._path(id), self._path(parent) if parent else None
        if parent_path is not None and not self._is_here(parent_path):
            self._report()
            return None
        if not self._is_here(path):
            payload = memoryview(state).cast("B")
            checksum = sha256(payload).digest()
            header = file.Header(parent, scope, position, encoded_tokens, payload.nbytes, checksum)
            if not self._create(path, header, payload):
                return None
        self._entries[path].parent, self._entries[path].position = parent_path, position
        self._use(path)
        self._fit()
        self._report()
        return id if path in self._entries else None

    def touch(self, ids: Iterable[str]) -> None:
        """Mark blocks, and all before them, as used now."""
        for id in ids:
            self._use(self._path(id))
        self._report()

    def remove(self, ids: Iterable[str]) -> None:
        """Remove blocks that are of no use any more; `on_removed` is not told what the caller knows."""
        for id in ids:
            self._remove(self._path(id))
        self._removed.clear()

    def tidy(self) -> None:
        """Look at the folder as it is now; remove what expired or was left over; make the rest fit."""
        now_ns, max_ns = int(self._now() * 1e9), int(self._max_seconds * 1e9)
        found: dict[Path, _Entry] = {}
        num_other_bytes = 0
        for store in file.stores(self.folder):
            for path, status in file.files(store):
                is_block = file.BLOCK_NAME.fullmatch(path.name)
                is_expired = is_block and abs(now_ns - status.st_mtime_ns) > max_ns  # a clock may have been wrong
                if is_expired or file.is_left_over(path.name):
                    self._unlink(path)
                elif is_block:
                    found[path] = self._entries.get(path) or _Entry(status.st_size, status.st_mtime_ns)
                    found[path].time_ns = max(found[path].time_ns, status.st_mtime_ns)
                else:
                    num_other_bytes += status.st_size
        self._removed += [path.stem for path in self._entries if path not in found and path.parent == self.path]
        self._entries = found
        self.num_bytes = num_other_bytes + sum(entry.num_bytes for entry in found.values())
        self._oldest = []
        self._until_tidy = self._max_bytes // TIDY_SHARE
        self._fit()
        self._report()

    def _path(self, id: str) -> Path:
        return self.path / f"{id}.kv"

    def _header(self, path: Path) -> file.Header | None:
        if path.parent != self.path:
            return None
        try:
            return file.read_header(path)
        except (file.Damaged, OSError) as error:
            self._reject(path, error)
            return None

    def _block(self, path: Path, header: file.Header) -> BlockFile:
        tokens = np.frombuffer(header.tokens, dtype="<i4").astype(np.int32, copy=False)
        used_at = (self._entries[path].time_ns + header.position * NS_PER_POSITION) / 1e9
        return BlockFile(path.stem, header.parent, header.scope, header.position, tokens, header.num_bytes, used_at)

    def _create(self, path: Path, header: file.Header, payload: memoryview) -> bool:
        """Write a file; after a failure, not again for a while."""
        if self._failed_at is not None and 0 <= self._now() - self._failed_at < self._retry_seconds:
            return False
        head = file.head_of(path, header)
        num_bytes = len(head) + payload.nbytes
        try:
            if not (about := self.path / file.ABOUT_NAME).exists():
                file.make_private_folder(self.path)
                file.write_private(about, msgspec.json.encode(self._about))
                self._until_tidy = -1  # something has changed here
            file.write_private(path, head, payload)
        except FileNotFoundError:  # `firesteel cache clear` was here at this very moment
            return False
        except OSError as error:
            if self._failed_at is None:
                log.warning("%s: KV cannot be kept on disk for now: %s", self.path, error.strerror or error)
            self._failed_at = self._now()
            return False
        self._failed_at = None
        self._unreadable.discard(path)
        self._entries[path] = _Entry(num_bytes, 0)
        self.num_bytes += num_bytes
        self._until_tidy -= num_bytes
        return True

    def _is_here(self, path: Path) -> bool:
        """Return whether a file exists, and take note of it if that is news."""
        try:
            status = path.stat()
        except OSError:
            self._forget(path)
            return False
        if path not in self._entries:
            self._entries[path] = _Entry(status.st_size, status.st_mtime_ns)
            self.num_bytes += status.st_size
        return True

    def _use(self, path: Path | None) -> None:
        now_ns = int(self._now() * 1e9)
        while path is not None and (entry := self._entries.get(path)) is not None:
            time_ns = now_ns - entry.position * NS_PER_POSITION
            if entry.time_ns >= time_ns:
                return  # and so are all before it
            entry.time_ns = time_ns
            with suppress(OSError):  # where it cannot be marked, it is at least not the next to go
                os.utime(path, ns=(time_ns, time_ns))
            path = entry.parent

    def _fit(self) -> None:
        """Remove the least recently used files until the folder fits; look at it anew now and then."""
        if self._until_tidy < 0:
            self.tidy()
        while self.num_bytes > self._max_bytes and self._entries:
            if not self._oldest:
                self._oldest = sorted(((entry.time_ns, path) for path, entry in self._entries.items()), reverse=True)
            time_ns, path = self._oldest.pop()
            entry = self._entries.get(path)
            if entry is not None and entry.time_ns == time_ns and not self._was_used_elsewhere(path, entry):
                self._remove(path)

    def _was_used_elsewhere(self, path: Path, entry: _Entry) -> bool:
        with suppress(OSError):
            time_ns = path.stat().st_mtime_ns
            if time_ns > entry.time_ns:
                entry.time_ns = time_ns
                return True
        return False

    def _reject(self, path: Path, error: Exception) -> None:
        """Say once what is wrong with a file; remove it if that is its content."""
        if not isinstance(error, FileNotFoundError) and path not in self._unreadable:
            self._unreadable.add(path)
            log.warning("%s is computed again: %s", path, error)
        if isinstance(error, file.Damaged):
            self._unlink(path)
        self._forget(path)

    def _remove(self, path: Path) -> None:
        self._unlink(path)
        self._forget(path)

    @staticmethod
    def _unlink(path: Path) -> None:
        with suppress(OSError):
            path.unlink()

    def _forget(self, path: Path) -> None:
        entry = self._entries.pop(path, None)
        if entry is not None:
            self.num_bytes -= entry.num_bytes
            if path.parent == self.path:
                self._removed.append(path.stem)

    def _report(self) -> None:
        if self._removed:
            removed, self._removed = self._removed, []
            self.on_removed(removed)
