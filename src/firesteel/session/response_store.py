"""Responses that outlive their connection, in SQLite: what a turn added, what was answered, and what came before.

All of it happens on one thread, so that the event loop never waits for a disk.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T")

KEPT_SECONDS = 30 * 86_400.0  # as long as OpenAI keeps them
MAX_CHAIN = 10_000  # responses that one conversation may consist of
MEMORY = ":memory:"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS responses (
  id TEXT PRIMARY KEY, scope TEXT NOT NULL, previous TEXT, created REAL NOT NULL, input BLOB NOT NULL,
  response BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS responses_created ON responses (created);
"""
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
    """Keeps responses by id. Nothing is found under another scope than its own.

    `path` is a file, or `MEMORY`. What was put is found at once, also before it is on the disk.
    """

    def __init__(self, path: str, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._thread = ThreadPoolExecutor(1, "responses")
        self._database = self._thread.submit(self._open, path).result()

    def _open(self, path: str) -> sqlite3.Connection:
        if path != MEMORY:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(path, isolation_level=None)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute("PRAGMA secure_delete = ON")  # what a user deletes is gone
        database.executescript(_SCHEMA)
        database.execute("DELETE FROM responses WHERE created < ?", (self._now() - KEPT_SECONDS,))
        return database

    def put(self, scope: str, stored: Stored) -> None:
        """Keep `stored`, in place of what has its id."""
        row = (stored.id, scope, stored.previous, self._now(), stored.input, stored.response)
        self._thread.submit(self._write, "INSERT OR REPLACE INTO responses VALUES (?, ?, ?, ?, ?, ?)", row)

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
        statement, row = "DELETE FROM responses WHERE id = ? AND scope = ?", (id, scope)
        return await self._run(lambda: self._write(statement, row)) > 0

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
