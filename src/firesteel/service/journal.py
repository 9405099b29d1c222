"""Rows on their way to the ledger's database, in files, so that a killed process loses none of them.

    FOLDER/RUN.lock        locked as long as the process lives that writes the rows of RUN
           RUN-NUMBER.rows JSON, one row a line; removed when its rows are in the database

Not synced: what a process has written outlives it, but not a loss of power.
"""

import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout

from firesteel.service.ledger_row import Row

log = logging.getLogger("firesteel")


class Journal:
    """The files of this process in `folder`, which several processes may share. Raises OSError when there can be none.

    One thread at a time may call its methods.
    """

    def __init__(self, folder: Path) -> None:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        self._folder = folder
        self._run = secrets.token_hex(8)
        self._numbers = count()
        self._is_failing = False
        self._lock = FileLock(folder / f"{self._run}.lock", mode=0o600)
        self._lock.acquire()
        self._finished: list[Path] = []  # files whose rows are being written to the database
        self._open()

    def _open(self) -> None:
        self._path = self._folder / f"{self._run}-{next(self._numbers)}.rows"
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)

    def append(self, row: Row) -> bool:
        """Keep `row`, some 2 µs; return False, and say so once, when the disk does not take it."""
        line = b"\n" + msgspec.json.encode(row)  # the line's end comes first: one that was cut short spoils no other
        reason = "a row was cut short"
        try:
            is_kept = os.write(self._file, line) == len(line)
        except OSError as error:
            is_kept, reason = False, error.strerror or str(error)
        if not is_kept and not self._is_failing:
            log.warning("%s takes no rows for now: %s", self._folder, reason)
        self._is_failing = not is_kept
        return is_kept

    def cut(self) -> None:
        """Begin a new file; `drop` removes those before it."""
        path, file = self._path, self._file
        try:
            self._open()
        except OSError:  # the old one goes on, and goes later
            self._path, self._file = path, file
            return
        os.close(file)
        self._finished.append(path)

    def drop(self) -> None:
        """Remove what came before the last `cut`: it is in the database."""
        while self._finished:
            with suppress(OSError):  # one that stays is taken over later, and its rows are entered once all the same
                self._finished.pop().unlink()

    def adopt(self) -> list[Row]:
        """Take over and return the rows that processes have left which do not live any more."""
        adopted: list[Row] = []
        for path in self._folder.glob("*.lock"):
            if path.stem == self._run:
                continue
            lock = FileLock(path, mode=0o600)
            with suppress(Timeout, OSError), lock.acquire(blocking=False):
                adopted += self._take_over(path)
        return adopted

    def _take_over(self, lock: Path) -> list[Row]:
        """Bring the rows of one process into our own file; one that has none yet is just beginning."""
        paths = sorted(self._folder.glob(f"{lock.stem}-*.rows"))
        rows = [row for path in paths for row in _read(path)]
        num_kept = sum(self.append(row) for row in rows)
        if num_kept == len(rows):
            with suppress(OSError):  # what stays is taken over again, and its rows are entered once all the same
                for path in paths:
                    path.unlink()
                if paths:
                    lock.unlink()
        return rows

    def close(self) -> None:
        """Leave: what is not in the database waits for the next process; without such rows nothing stays."""
        is_empty = not self._finished and not os.fstat(self._file).st_size
        os.close(self._file)
        if is_empty:
            self._path.unlink(missing_ok=True)
        self._lock.release()
        if is_empty:
            Path(self._lock.lock_file).unlink(missing_ok=True)


def _read(path: Path) -> Iterator[Row]:
    """Yield the rows of a file; a process that was killed may have written a part of the last one."""
    for line in path.read_bytes().split(b"\n"):
        if line:
            try:
                yield msgspec.json.decode(line, type=Row)
            except msgspec.ValidationError as error:
                log.warning("%s: a row does not fit the ledger and is not entered: %s", path, error)
            except msgspec.DecodeError:
                log.warning("%s: a row was cut short and is not entered", path)
