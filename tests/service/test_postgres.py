"""The ledger in a real PostgreSQL: it catches up after a crash of the database, and requests never notice."""

import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from firesteel.service.ledger import Ledger
from firesteel.service.ledger_store import Asked, LedgerStore, url_of
from tests.server.live import environment, firesteel, serving, wait_for
from tests.service.real_servers import RealServer, postgres_server
from tests.service.test_ledger import row


@pytest.fixture(scope="module")
def postgres() -> Iterator[RealServer]:
    with postgres_server() as server:
        yield server


def address(server: RealServer) -> str:
    return f"postgresql://postgres@127.0.0.1:{server.port}/postgres"


def total(server: RealServer, **asked: Any) -> int:
    store = LedgerStore(url_of(address(server)))
    try:
        return int(store.usage(Asked(**asked))[0]["requests"])
    finally:
        store.close()


def test_one_code_path_for_both(postgres: RealServer) -> None:
    rows = [row(n, key="both", tokens_in=10, ttft_seconds=None if n else 0.5) for n in range(3)]
    store = LedgerStore(url_of(address(postgres)))
    store.insert(rows)
    store.insert(rows)
    (found,) = store.usage(Asked(by=("key", "day"), key="both"))
    assert (found["requests"], found["tokens_in"], found["day"]) == (3, 30, "2023-11-14")
    assert found["ttft_seconds"] == 0.5
    store.close()


def test_two_gateways_make_the_table_at_once() -> None:
    with postgres_server() as server:
        ledgers = [Ledger(lambda: LedgerStore(url_of(address(server)))) for _ in range(4)]
        threads = [threading.Thread(target=ledger.put, args=(row(n),)) for n, ledger in enumerate(ledgers)]
        for thread in threads:
            thread.start()
        wait_for(lambda: all(ledger.num_written for ledger in ledgers), "all have written")
        for ledger in ledgers:
            ledger.close()
        assert total(server) == 4


def test_a_killed_database_loses_no_request(postgres: RealServer) -> None:
    """Requests go on while it is away, each is entered once when it is back, and none was lost."""
    with serving("--ledger", address(postgres)) as live:
        before = live.metric("firesteel_service", what="num_ledger_written")
        assert live.chat("hello", max_tokens=1).status_code == 200
        wait_for(lambda: live.metric("firesteel_service", what="num_ledger_written") > before, "it is written")
        postgres.kill()
        assert [live.chat("hello", max_tokens=1).status_code for _ in range(20)] == [200] * 20
        wait_for(lambda: live.metric("firesteel_service", what="num_ledger_failures"), "the database was missed")
        assert live.metric("firesteel_service", what="num_ledger_waiting") == 20
        postgres.start()
        wait_for(lambda: not live.metric("firesteel_service", what="num_ledger_waiting"), "it has caught up", 20)
        assert live.metric("firesteel_service", what="num_ledger_lost") == 0
        assert total(postgres, model="scripted") == 21
    line = firesteel("usage", "--ledger", address(postgres), "--model", "scripted", "--json")
    done = subprocess.run(line, check=True, capture_output=True, text=True, env=environment({}))
    assert json.loads(done.stdout)[0]["requests"] == 21


def test_what_a_dead_database_did_not_take_waits_for_the_next_server(tmp_path: Path) -> None:
    home = {"FIRESTEEL_HOME": str(tmp_path)}
    for number in (1, 2):
        with serving("--ledger", "postgresql://nobody:s3cret@127.0.0.1:1/none", env=home) as live:
            assert live.chat("hello", max_tokens=1).status_code == 200
            live.process.terminate()
            live.process.wait(20)
            log = live.log.read_text()
        assert f"did not take {number} requests; the next server enters them" in log
        assert "s3cret" not in log
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"s3cret" in path.read_bytes()]
