"""The ledger's table, in SQLite or PostgreSQL: one code path for both."""

import logging
import operator
import os
import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sql
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DataError, IntegrityError, SQLAlchemyError

from firesteel.errors import ConfigError
from firesteel.service.ledger_row import Row

log = logging.getLogger("firesteel")

CONNECT_SECONDS = 5
TIDY_SECONDS = 3_600.0  # between two looks at what has been kept for long enough
TIDY_ROWS = 10_000  # removed at once, so that whoever writes does not wait for long
BUSY_SECONDS = 10
INSTALL = "pip install 'firesteel[service]'"

_metadata = sql.MetaData()
REQUESTS = sql.Table(
    "firesteel_requests",
    _metadata,
    sql.Column("id", sql.String(32), primary_key=True),
    sql.Column("request", sql.Text, nullable=False),
    sql.Column("at", sql.Double, nullable=False, index=True),
    sql.Column("key", sql.Text, nullable=False),
    sql.Column("endpoint", sql.Text, nullable=False),
    sql.Column("day", sql.String(10), nullable=False),
    sql.Column("model", sql.Text, nullable=False),
    sql.Column("status", sql.Integer, nullable=False),
    *(
        sql.Column(name, sql.BigInteger, nullable=False)
        for name in ("tokens_in", "tokens_cached", "tokens_out", "tokens_drafted", "tokens_accepted", "guard_events")
    ),
    sql.Column("queue_seconds", sql.Double, nullable=False),
    sql.Column("ttft_seconds", sql.Double),
    sql.Column("seconds", sql.Double, nullable=False),
    sql.Column("cost", sql.Double, nullable=False),
)
SUMS = ("tokens_in", "tokens_cached", "tokens_out", "tokens_drafted", "tokens_accepted", "guard_events", "cost")


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of the ledger: sums `by` some of key, model, day and endpoint, from `since` to before `until`."""

    by: tuple[str, ...] = ()
    since: float | None = None
    until: float | None = None
    key: str | None = None
    model: str | None = None


def url_of(text: str) -> URL:
    """Return the address of a ledger: a URL, or the path of an SQLite file. Raises ConfigError."""
    if "://" not in text:
        return URL.create("sqlite", database=text)
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ConfigError("the ledger is no URL; write postgresql://USER@HOST/DATABASE, or a path") from None
    if url.drivername in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    if url.drivername not in ("sqlite", "postgresql+psycopg"):
        raise ConfigError(f"the ledger cannot be kept in {url.drivername}; use postgresql:// or the path of a file")
    return url


def name_of(url: URL) -> str:
    """Return a name for the ledger at `url` that is the same for every password, and fit for a folder."""
    place = str(Path(url.database or "").absolute()) if url.drivername == "sqlite" else url.set(password=None)
    return blake2b(str(place).encode(), digest_size=8).hexdigest()


class LedgerStore:
    """The table at `url`. Its methods block, and raise `SQLAlchemyError` when the database cannot do its part."""

    def __init__(
        self,
        url: URL,
        max_seconds: float | None = None,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._max_seconds = max_seconds  # that a row is kept; None = for ever
        self._now = now  # which may jump
        self._clock = clock
        self._tidy_at = clock()
        self._is_file = url.drivername == "sqlite"
        self._engine = self._open()
        self._is_ready = False

    def _open(self) -> sql.Engine:
        if not self._is_file:
            try:
                seconds = {"connect_timeout": CONNECT_SECONDS}
                return sql.create_engine(self._url, pool_pre_ping=True, connect_args=seconds)
            except ImportError:
                raise ConfigError(f"a ledger in PostgreSQL needs its driver; run: {INSTALL}") from None
        engine = sql.create_engine(self._url, connect_args={"timeout": BUSY_SECONDS})
        sql.event.listen(engine, "connect", _configure)
        return engine

    def _prepare(self) -> None:
        if self._is_ready:
            return
        if self._is_file and self._url.database not in (None, "", ":memory:"):
            _create_private(Path(self._url.database or ""))
        try:
            _metadata.create_all(self._engine)
        except SQLAlchemyError as error:
            if "already exists" not in str(error):  # else another server has made it just now
                raise
        self._is_ready = True

    def insert(self, rows: Sequence[Row]) -> int:
        """Keep `rows`; return how many of them it will never take, for what is in them.

        Those that are there already, because only the answer was lost, stay as they are.
        """
        self._prepare()
        num_refused = self._insert(rows)
        self._tidy()
        return num_refused

    def _insert(self, rows: Sequence[Row]) -> int:
        insert = sqlite.insert(REQUESTS) if self._is_file else postgresql.insert(REQUESTS)
        try:
            with self._engine.begin() as connection:
                connection.execute(insert.on_conflict_do_nothing(), [msgspec.structs.asdict(row) for row in rows])
        except (IntegrityError, DataError) as error:
            if len(rows) > 1:  # halves, until the one is found that spoils them all
                half = len(rows) // 2
                return self._insert(rows[:half]) + self._insert(rows[half:])
            log.error("the ledger cannot hold request %r, which is lost: %s", rows[0].request, _reason(error))
            return 1
        return 0

    def _tidy(self) -> None:
        """Remove, now and then, what was kept for long enough; the next row brings what is left of it."""
        if self._max_seconds is None or self._clock() < self._tidy_at:
            return
        self._tidy_at = self._clock() + TIDY_SECONDS
        old = sql.select(REQUESTS.c.id).where(REQUESTS.c.at < self._now() - self._max_seconds).limit(TIDY_ROWS)
        try:
            with self._engine.begin() as connection:
                done = connection.execute(sql.delete(REQUESTS).where(REQUESTS.c.id.in_(old)))
        except SQLAlchemyError as error:
            log.warning("old rows stay in the ledger for another hour: %s", _reason(error))
        else:
            if done.rowcount == TIDY_ROWS:
                self._tidy_at = self._clock()

    def usage(self, asked: Asked) -> list[Mapping[str, Any]]:
        """Return one row of sums for each group, in the order of the groups."""
        self._prepare()
        columns = [REQUESTS.c[name] for name in asked.by]
        with self._engine.connect() as connection:
            found = connection.execute(_query(asked, columns))
            return [dict(row._mapping) for row in found]

    def close(self) -> None:
        """Let the connections go."""
        self._engine.dispose()


def _query(asked: Asked, columns: list[sql.Column[Any]]) -> sql.Select[Any]:
    c = REQUESTS.c
    sums = [sql.func.sum(c[name]).label(name) for name in SUMS]
    failed = sql.func.sum(sql.case((c.status >= 400, 1), else_=0)).label("failed")
    means = [sql.func.avg(c[name]).label(name) for name in ("queue_seconds", "ttft_seconds", "seconds")]
    query = sql.select(*columns, sql.func.count().label("requests"), failed, *sums, *means)
    ends = ((asked.since, operator.ge), (asked.until, operator.lt))
    query = query.where(*(compare(c.at, end) for end, compare in ends if end is not None))
    names = ((asked.key, c.key), (asked.model, c.model))
    query = query.where(*(column == name for name, column in names if name is not None))
    return query.group_by(*columns).order_by(*columns) if columns else query


def _reason(error: Exception) -> str:
    return str(error).partition("\n")[0]  # what follows is the statement


def _configure(connection: Any, _record: Any) -> None:
    """WAL, so that `firesteel usage` reads while a server writes; what is committed survives a killed process."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


def _create_private(path: Path) -> None:
    """Make the file before SQLite does, which would let everybody read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


FAILURES = (SQLAlchemyError, OSError)
