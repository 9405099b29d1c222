"""Responses that outlive their connection, in SQLite: what a turn added, what was answered, and what came before.

All of it happens on one thread, so that the event loop never waits for a disk.
"""

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T")

KEPT_SECONDS = 30 * 86_400.0  # as long as OpenAI keeps them
MAX_BYTES = 1_000_000_000
TIDY_BYTES = 4_000_000  # what is looked at again after so much was written
TIDY_SHARE = 8  # where there is too much, an eighth more than that goes
MAX_LOG_BYTES = 4_000_000  # of what SQLite writes ahead
MAX_CHAIN = 10_000  # responses that one conversation may consist of
MEMORY = ":memory:"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS responses (
  id TEXT PRIMARY KEY, scope TEXT NOT NULL, previous TEXT, created REAL NOT NULL, input BLOB NOT NULL,
  response BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS responses_created ON responses (created);
"""
_SIZES = "SELECT id, length(input) + length(response), created < ? FROM responses ORDER BY created"
_ONE = "SELECT id, previous, input, response FROM responses WHERE id = ? AND scope = ?"
_CHAIN = """
WITH RECURSIVE chain (id, previous, input, response, depth) AS (
  SELECT id, previous, input, response, 0 FROM responses WHERE id = ? AND scope = ?
  UNION ALL
  SELECT r.id, r.previous, r.input, r.response, depth + 1 FROM responses r JOIN chain ON r.id = chain.previous
  WHERE r.scope = ? AND depth < ?
)
SELECT id, previous, input, response FROM chain ORDER BY depth DESC
"""


class Stored(msgspec.Struct, frozen=True):
    """One response: the items that its request added, as JSON, and the response object, as JSON."""

    id: str
    previous: str | None
    input: bytes
    response: bytes


class ResponseStore:
    """Keeps responses by id, for `max_seconds` and up to `max_bytes`; the oldest go first.

    Nothing is found under another scope than its own. `path` is a file, which its owner only can read, or `MEMORY`.
    What was put is found at once, also before it is on the disk.
    """

    def __init__(
        self,
        path: str,
        now: Callable[[], float] = time.time,
        *,
        max_seconds: float = KEPT_SECONDS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._now = now
        self._max_seconds = max_seconds
        self._max_bytes = max_bytes
        self._until_tidy = 0
        self._thread = ThreadPoolExecutor(1, "responses")
        self._database = self._thread.submit(self._open, path).result()

    def _open(self, path: str) -> sqlite3.Connection:
        if path != MEMORY:
            Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            for name in (path, f"{path}-wal", f"{path}-shm"):  # SQLite makes the others like the first
                with suppress(FileNotFoundError):
                    os.chmod(name, 0o600)
        database = sqlite3.connect(path, isolation_level=None)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(f"PRAGMA journal_size_limit = {MAX_LOG_BYTES}")
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute("PRAGMA secure_delete = ON")  # what a user deletes is gone
        database.executescript(_SCHEMA)
        self._tidy(database)
        return database

    def _tidy(self, database: sqlite3.Connection) -> None:
        """Remove what is too old, and the oldest of what is too much."""
        self._until_tidy = min(TIDY_BYTES, self._max_bytes // TIDY_SHARE)
        rows = database.execute(_SIZES, (self._now() - self._max_seconds,)).fetchall()
        total = sum(num_bytes for _, num_bytes, _ in rows)
        wanted = self._max_bytes if total <= self._max_bytes else self._max_bytes - self._max_bytes // TIDY_SHARE
        gone = []
        for id, num_bytes, is_old in rows:
            if not is_old and total <= wanted:
                break
            gone.append((id,))
            total -= num_bytes
        database.executemany("DELETE FROM responses WHERE id = ?", gone)
        if gone:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    async def tidy(self) -> None:
        """Remove what is too old or too much now; it happens while responses are written, too."""
        await self._run(lambda: self._tidy(self._database))

    def put(self, scope: str, stored: Stored) -> None:
        """Keep `stored`, in place of what has its id."""
        row = (stored.id, scope, stored.previous, self._now(), stored.input, stored.response)
        self._thread.submit(self._put, row)

    def _put(self, row: tuple[object, ...]) -> None:
        self._write("INSERT OR REPLACE INTO responses VALUES (?, ?, ?, ?, ?, ?)", row)
        self._until_tidy -= sum(len(part) for part in row if isinstance(part, bytes))
        if self._until_tidy <= 0:
            self._tidy(self._database)

    async def get(self, scope: str, id: str) -> Stored | None:
        """Return the response `id`, if it is there."""
        rows = await self._run(lambda: self._database.execute(_ONE, (id, scope)).fetchall())
        return Stored(*rows[0]) if rows else None

    async def chain(self, scope: str, id: str) -> list[Stored]:
        """Return the responses of the conversation that ends with `id`, the first one first; empty if unknown.

        When one of them was deleted, the list begins after it, with a `previous` that is not there.
        """
        return await self._run(lambda: self._rows(scope, id))

    async def delete(self, scope: str, id: str) -> bool:
        """Forget the response `id`; return whether it was there."""
        return await self._run(lambda: self._delete(scope, id))

    def _delete(self, scope: str, id: str) -> bool:
        is_gone = self._write("DELETE FROM responses WHERE id = ? AND scope = ?", (id, scope)) > 0
        if is_gone:
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the log would keep a copy
        return is_gone

    def close(self) -> None:
        """Write what waits, and end the thread."""
        self._thread.submit(self._database.close)
        self._thread.shutdown(wait=True)

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _rows(self, scope: str, id: str) -> list[Stored]:
        return [Stored(*row) for row in self._database.execute(_CHAIN, (id, scope, scope, MAX_CHAIN))]

    def _write(self, statement: str, row: tuple[object, ...]) -> int:
        return self._database.execute(statement, row).rowcount
