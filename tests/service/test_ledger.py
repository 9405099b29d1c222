"""The ledger: each request once, nothing of what was said, and no wait for a database that is down."""

import math
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import sqlalchemy
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects.sqlite.base import SQLiteDialect
from sqlalchemy.exc import OperationalError

from firesteel.errors import ConfigError
from firesteel.service import ledger_store
from firesteel.service.ledger import Ledger
from firesteel.service.ledger_row import Prices, Row
from firesteel.service.ledger_store import Asked, LedgerStore, url_of
from firesteel.types import DraftUsage, Usage
from firesteel.verdict import GuardReport
from tests.server.live import wait_for


def row(number: int, **fields: object) -> Row:
    made = Row(id=f"{number:032x}", request=f"r{number}", at=1_700_000_000.0 + number, key="k", endpoint="chat")
    for name, value in {"model": "m", "status": 200, **fields}.items():
        setattr(made, name, value)
    made.priced(Prices())
    return made


class Flaky:
    """A database that fails as long as it is told to."""

    def __init__(self) -> None:
        self.works = threading.Event()
        self.kept: dict[str, Row] = {}
        self.num_tries = 0

    def insert(self, rows: Sequence[Row]) -> int:
        self.num_tries += 1
        if not self.works.is_set():
            raise ConnectionError("down\nINSERT INTO secrets")
        self.kept |= {row.id: row for row in rows}
        return 0

    def close(self) -> None:
        pass


@pytest.fixture
def flaky() -> Iterator[Flaky]:
    made = Flaky()
    yield made
    made.works.set()


def test_the_ledger_catches_up_when_the_database_is_back(flaky: Flaky, caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger(lambda: flaky)
    for number in range(1500):
        ledger.put(row(number))
    wait_for(lambda: ledger.num_failures, "the database was tried")
    assert ledger.num_waiting == 1500
    flaky.works.set()
    wait_for(lambda: not ledger.num_waiting, "the ledger has caught up")
    assert len(flaky.kept) == ledger.num_written == 1500
    assert ledger.num_lost == 0
    ledger.close()
    assert "down" in caplog.text
    assert "secrets" not in caplog.text


def test_what_does_not_fit_is_counted(flaky: Flaky) -> None:
    ledger = Ledger(lambda: flaky, max_waiting=10)
    for number in range(25):
        ledger.put(row(number))
    assert (ledger.num_waiting, ledger.num_lost) == (10, 15)
    ledger.close(1.0)
    assert ledger.num_lost == 25
    ledger.put(row(99))
    assert ledger.num_lost == 26


def test_a_database_that_cannot_be_opened_is_opened_later(flaky: Flaky) -> None:
    flaky.works.set()
    attempts = iter([True, False])

    def opened() -> Flaky:
        if next(attempts):
            raise OSError("no such host")
        return flaky

    ledger = Ledger(opened)
    ledger.put(row(1))
    wait_for(lambda: flaky.kept, "the row is there")
    ledger.close()


def test_closing_writes_what_waits(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    ledger = Ledger(lambda: LedgerStore(url_of(str(file))))
    for number in range(300):
        ledger.put(row(number))
    ledger.close()
    assert ledger.num_lost == 0
    assert LedgerStore(url_of(str(file))).usage(Asked())[0]["requests"] == 300
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LedgerStore]:
    made = LedgerStore(url_of(str(tmp_path / "ledger.db")))
    yield made
    made.close()


def test_a_row_that_comes_again_is_kept_once(store: LedgerStore) -> None:
    store.insert([row(1), row(2)])
    store.insert([row(2, tokens_in=5), row(3)])
    (total,) = store.usage(Asked())
    assert (total["requests"], total["tokens_in"]) == (3, 0)


def test_a_row_that_the_database_cannot_hold_keeps_no_other_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """NaN is NULL to SQLite."""
    file = url_of(str(tmp_path / "ledger.db"))
    ledger = Ledger(lambda: LedgerStore(file))
    wrong = (3, 7, 8)
    for number in range(10):
        made = row(number)
        made.cost = math.nan if number in wrong else made.cost
        ledger.put(made)
    wait_for(lambda: not ledger.num_waiting, "the others are entered")
    ledger.close()
    assert (ledger.num_written, ledger.num_lost, ledger.num_failures) == (7, 3, 0)
    assert LedgerStore(file).usage(Asked())[0]["requests"] == 7
    assert all(f"'r{number}'" in caplog.text for number in wrong)


def test_servers_that_make_the_table_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one has looked for it before the first one has made it."""
    file = url_of(str(tmp_path / "ledger.db"))
    LedgerStore(file).insert([row(1)])
    monkeypatch.setattr(SQLiteDialect, "has_table", lambda *_, **__: False)
    store = LedgerStore(file)
    assert store.insert([row(2)]) == 0
    assert store.usage(Asked())[0]["requests"] == 2
    store.close()


def test_rows_leave_after_their_time(tmp_path: Path) -> None:
    seconds = 1_700_000_000.0
    store = LedgerStore(
        url_of(str(tmp_path / "ledger.db")), max_seconds=86_400.0, now=lambda: seconds, clock=lambda: seconds
    )
    store.insert([row(n) for n in range(3)])
    seconds += 86_400.0 + 2
    store.insert([row(100_000)])
    assert (
        store.usage(Asked())[0]["requests"] == 2
    )  # those of the second day, and the one that is a day old to the second
    seconds += 60
    store.insert([row(100_001)])
    assert store.usage(Asked())[0]["requests"] == 3  # it does not look each time
    seconds += 3_600
    store.insert([row(100_002)])
    assert store.usage(Asked())[0]["requests"] == 3
    store.close()


def num_rows(store: LedgerStore) -> int:
    return int(store.usage(Asked())[0]["requests"])


class Aging:
    """A store whose rows leave after a day, and its two clocks."""

    def __init__(self, path: Path) -> None:
        self.now, self.clock = 1_700_000_000.0, 0.0
        self.store = LedgerStore(url_of(str(path)), 86_400.0, now=lambda: self.now, clock=lambda: self.clock)


@pytest.fixture
def aging(tmp_path: Path) -> Iterator[Aging]:
    made = Aging(tmp_path / "ledger.db")
    yield made
    made.store.close()


def test_a_clock_that_jumps_does_not_stop_the_tidying(aging: Aging) -> None:
    aging.now += 10 * 365 * 86_400.0  # as before a machine has asked what time it is
    aging.store.insert([row(0)])
    aging.now = 1_700_000_000.0
    aging.store.insert([row(1)])
    aging.now += 3 * 86_400.0
    aging.clock += 3_601.0
    aging.store.insert([row(3 * 86_400)])
    assert num_rows(aging.store) == 1


def test_many_old_rows_leave_one_portion_at_a_time(aging: Aging, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_store, "TIDY_ROWS", 4)
    aging.store.insert([row(number) for number in range(10)])
    aging.now += 2 * 86_400.0
    aging.clock += 3_601.0
    left = []
    for number in range(4):
        aging.store.insert([row(2 * 86_400 + number)])
        left.append(num_rows(aging.store) - number - 1)
    assert left == [6, 2, 0, 0]


def test_tidying_that_fails_loses_no_row(
    aging: Aging, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(*_: object) -> None:
        raise OperationalError("DELETE", {}, Exception("not allowed"))

    monkeypatch.setattr(sqlalchemy, "delete", refused)
    aging.store.insert([row(1)])
    aging.store.insert([row(2)])
    assert num_rows(aging.store) == 2
    assert caplog.text.count("not allowed") == 1


def test_sums_by_group(store: LedgerStore) -> None:
    store.insert([row(n, key="ab"[n % 2], tokens_in=10, tokens_out=n, status=200 if n else 429) for n in range(4)])
    a, b = store.usage(Asked(by=("key", "day")))
    assert (a["key"], a["requests"], a["failed"], a["tokens_out"], a["day"]) == ("a", 2, 1, 2, "2023-11-14")
    assert (b["requests"], b["failed"], b["tokens_in"]) == (2, 0, 20)
    assert b["cost"] == pytest.approx((20 * 5 + 4 * 15) / 1e6)
    at = 1_700_000_000.0
    assert store.usage(Asked(since=at + 1, until=at + 3))[0]["requests"] == 2
    assert store.usage(Asked(key="a", model="m"))[0]["requests"] == 2
    assert store.usage(Asked(by=("key",), model="none")) == []


@settings(deadline=None)
@given(st.integers(0, 10**7), st.integers(0, 10**7), st.integers(0, 10**7))
def test_prices(fresh: int, cached: int, out: int) -> None:
    default = Prices().of(fresh + cached, cached, out)
    assert default == pytest.approx(((fresh + cached) * 5 + out * 15) / 1e6)
    assert Prices(5, 15, 0.5).of(fresh + cached, cached, out) == pytest.approx(
        (fresh * 5 + cached * 0.5 + out * 15) / 1e6
    )


def test_a_row_adds_its_sequences_up() -> None:
    made = row(1)
    usage = Usage(
        num_prompt_tokens=10,
        num_cached_tokens=4,
        num_output_tokens=6,
        drafts=(DraftUsage("ngram", 2, 8, 5), DraftUsage("model", 1, 4, 1)),
        queue_seconds=0.5,
        guard=GuardReport(version="1", is_live=False, num_rewinds=2),
    )
    made.add(usage, has_prompt=True)
    made.add(usage, has_prompt=False)
    assert (made.tokens_in, made.tokens_cached, made.tokens_out) == (10, 4, 12)
    assert (made.tokens_drafted, made.tokens_accepted, made.queue_seconds) == (24, 12, 0.5)
    assert made.guard_events == 4


@pytest.mark.parametrize("address", ["mysql://x/y", "http://x", "postgresql://[::1", "://"])
def test_an_address_that_is_none_is_refused_without_being_shown(address: str) -> None:
    with pytest.raises(ConfigError):
        url_of(address.replace("x", "user:pass@x"))


def test_the_file_is_plain_sqlite(store: LedgerStore, tmp_path: Path) -> None:
    store.insert([row(1)])
    names = {
        column[1] for column in sqlite3.connect(tmp_path / "ledger.db").execute("PRAGMA table_info(firesteel_requests)")
    }
    assert names == set(Row.__struct_fields__)
