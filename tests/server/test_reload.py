"""SIGHUP: new settings are taken over without breaking a stream; what cannot be changes nothing."""

import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.live import Live, Wire, chat_body, is_done, serving, unchunked, wait_for


class Configured:
    """A server and the file that it reads."""

    def __init__(self, live: Live, file: Path) -> None:
        self.live = live
        self.file = file

    def reload(self, text: str, said: str) -> str:
        """Write the file, send SIGHUP, and return the log after it once `said` is there."""
        before = len(self.live.log.read_text())
        self.file.write_text(text)
        self.live.process.send_signal(signal.SIGHUP)
        wait_for(lambda: said in self.live.log.read_text()[before:], said)
        return self.live.log.read_text()[before:]

    def status(self, key: str) -> int:
        return self.live.http.get("/v1/models", headers={"authorization": f"Bearer {key}"}).status_code


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Configured]:
    file = tmp_path_factory.mktemp("settings") / "firesteel.toml"
    file.write_text('api_key = ["first"]')
    file.chmod(0o600)
    with serving("--config", str(file)) as live:
        yield Configured(live, file)


def test_a_new_key_counts_and_a_stream_goes_on(configured: Configured) -> None:
    configured.reload('api_key = ["first"]', "settings reloaded")
    assert configured.status("second") == 401
    with Wire(configured.live.port) as wire:
        wire.post(chat_body("slow", stream=True, max_tokens=100), key="first")
        received = wire.read()
        log = configured.reload('api_key = ["second"]', "settings reloaded")
        assert "changed: api_key" in log
        assert "second" not in log
        assert (configured.status("first"), configured.status("second")) == (401, 200)
        assert is_done(unchunked(received + wire.read_to_end())[1])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("prot = 1", "did you mean `port`"),
        ('api_key = "a,"\nport = "x"', "`port` takes a whole number"),
        ("[", "is not TOML"),
        ("port = " + "[" * 5000 + "]" * 5000, "nested too deeply"),
    ],
)
def test_a_file_that_cannot_be_keeps_the_old_settings(configured: Configured, text: str, reason: str) -> None:
    configured.reload('api_key = ["kept"]', "settings reloaded")
    assert reason in configured.reload(text, "the old settings stay")
    assert configured.status("kept") == 200


def test_what_needs_a_restart_is_named(configured: Configured) -> None:
    log = configured.reload('api_key = ["kept"]\nmax_queue = 3', "need a restart")
    assert "max_queue" in log
    configured.reload('api_key = ["kept"]', "settings reloaded")
    assert "need a restart" in configured.reload('api_key = ["kept"]\nmax_queue = 3', "restart: max_queue")  # still
    log = configured.reload('api_key = ["kept"]', "settings reloaded")
    configured.live.http.get("/health")
    assert "restart" not in log  # it is what runs


def test_a_live_limit_holds_for_the_next_request(configured: Configured) -> None:
    headers = {"authorization": "Bearer kept"}
    body = chat_body("hello" + " " * 1_500_000, max_tokens=1)
    configured.reload('api_key = ["kept"]\nmax_body_mb = 1', "settings reloaded")
    assert configured.live.http.post("/v1/chat/completions", json=body, headers=headers).status_code == 413
    configured.reload('api_key = ["kept"]', "settings reloaded")
    assert configured.live.http.post("/v1/chat/completions", json=body, headers=headers).status_code != 413


def test_a_server_that_needs_a_key_does_not_lose_its_last_one(tmp_path: Path) -> None:
    file = tmp_path / "firesteel.toml"
    file.write_text('api_key = ["only"]')
    with serving("--config", str(file), "--host", "0.0.0.0") as live:
        configured = Configured(live, file)
        assert "refusing to listen" in configured.reload("", "the old settings stay")
        assert configured.status("other") == 401


def test_limits_and_prices_are_taken_over(tmp_path: Path) -> None:
    file, ledger = tmp_path / "firesteel.toml", tmp_path / "ledger.db"

    def costs() -> list[float]:
        try:
            rows = sqlite3.connect(ledger).execute("SELECT cost FROM firesteel_requests ORDER BY at").fetchall()
        except sqlite3.OperationalError:  # the first row makes the table
            return []
        return [cost for (cost,) in rows]

    file.write_text("price_output = 1")
    with serving("--config", str(file), "--ledger", str(ledger)) as live:
        configured = Configured(live, file)
        assert live.chat("hello", max_tokens=2).status_code == 200
        wait_for(lambda: len(costs()) == 1, "a row")
        log = configured.reload("price_output = 1000000\nrequests_per_minute = 1", "settings reloaded")
        assert "price_output" in log
        assert "requests_per_minute" in log
        assert [live.chat("hello", max_tokens=2).status_code for _ in range(2)] == [200, 429]
        wait_for(lambda: len(costs()) == 3, "three rows")
    first, second, refused = costs()
    assert (first < 0.01, second > 2, refused) == (True, True, 0)


def test_another_guard_counts_for_the_next_request_and_more_than_was_tried_needs_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "firesteel.toml"
    file.write_text("")
    with serving("--config", str(file)) as live:
        configured = Configured(live, file)

        def wished() -> int:
            body = chat_body("hello", max_tokens=2)
            return live.http.post("/v1/chat/completions", json=body, headers={"x-firesteel-guard": "on"}).status_code

        assert wished() == 200
        assert "changed: guard" in configured.reload('guard = "off"', "settings reloaded")
        assert wished() == 400
        assert "restart the server" in configured.reload('guard = "block"', "the old settings stay")
        assert wished() == 400
        configured.reload('guard_actions = ["nonsense"]', "the old settings stay")
        configured.reload("", "settings reloaded")
        assert wished() == 200
