"""The life of the server process: crashes, signals, refusals to start; nothing is ever left behind."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from firesteel.bench.servers import free_port
from tests.server.live import (
    Live,
    Wire,
    chat_body,
    chunks_of,
    environment,
    firesteel,
    is_done,
    serving,
    unchunked,
    wait_for,
)


@pytest.fixture(scope="module")
def crashing_server() -> Iterator[Live]:
    with serving() as live:
        yield live


def test_a_crash_ends_streams_honestly_and_the_server_is_back(crashing_server: Live) -> None:
    live = crashing_server
    restarts = live.metric("firesteel_engine_restarts")
    (before,) = live.children()
    with Wire(live.port) as wire, Wire(live.port) as waiting:
        wire.post(chat_body("crash", stream=True))
        waiting.post(chat_body("slow"))
        status, stream = unchunked(wire.read_to_end())
        other_status, other = unchunked(waiting.read_to_end())
    assert status == 200
    assert chunks_of(stream)[-1]["error"]["code"] == "engine_crashed"
    assert not is_done(stream)
    assert other_status in (500, 503)
    assert b"engine_crashed" in other or b"server_not_ready" in other
    wait_for(lambda: live.health() == 503 or live.children() != [before], "the crash is noticed")
    wait_for(lambda: live.health() == 200, "the engine is back")
    assert live.chat("hello").status_code == 200
    assert live.metric("firesteel_engine_restarts") == restarts + 1
    assert not before.is_running()


def test_while_the_engine_is_away_requests_are_told_to_come_back(crashing_server: Live) -> None:
    live = crashing_server
    refused = wait_for(lambda: refusal_of(live), "a request is refused")
    assert refused is not None
    assert refused.json()["error"]["code"] == "server_not_ready"
    assert int(refused.headers["retry-after"]) >= 1
    wait_for(lambda: live.health() == 200, "the engine is back")


def refusal_of(live: Live) -> httpx.Response | None:
    """Kill the engine and ask at once; on a busy machine it may be back sooner, so this is tried again."""
    for engine in live.children():
        engine.kill()
    response = live.chat("hello")
    return response if response.status_code == 503 else None


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_a_reload_that_comes_too_early_does_not_end_it(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    line = firesteel("serve", "--backend", "scripted", "--port", str(port), "--disk-cache", "0")
    with log.open("wb") as file:
        process = subprocess.Popen(line, stderr=file, env=environment({"FIRESTEEL_HOME": str(tmp_path)}))
    live = Live(process, port, log)
    try:
        wait_for(lambda: ignores(process.pid, signal.SIGHUP), "it knows what to do with it")
        while b"ready" not in log.read_bytes():
            process.send_signal(signal.SIGHUP)
            assert process.poll() is None, log.read_text()
        wait_for(lambda: live.health() == 200, "it is ready")
    finally:
        live.stop()


def ignores(pid: int, number: signal.Signals) -> bool:
    """Return whether a process ignores or handles a signal."""
    status = dict(line.split(":\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    return bool((int(status["SigIgn"], 16) | int(status["SigCgt"], 16)) >> (number - 1) & 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_loading_ends_it_quietly(number: signal.Signals) -> None:
    line = firesteel("serve", "--backend", "scripted", "--port", str(free_port()), "--ledger", "none")
    process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True, start_new_session=True)
    me = psutil.Process(process.pid)
    children = wait_for(lambda: me.children(recursive=True), "the engine process starts")
    wait_for(lambda: all(os.getpgid(child.pid) != process.pid for child in children), "it is in its own group")
    os.killpg(process.pid, number)  # as a terminal does
    _, words = process.communicate(timeout=10)
    assert process.returncode == 0, words
    assert "Traceback" not in words
    assert "never retrieved" not in words
    assert not [child for child in children if child.is_running()]


def test_the_engine_ends_when_the_server_is_killed() -> None:
    with serving() as live, Wire(live.port) as wire:
        wire.post(chat_body("stall", stream=True))
        wire.read()
        children = live.children()
        assert children
        live.process.kill()
        live.process.wait()
        wait_for(lambda: not [child for child in children if child.is_running()], "the engine ends")


def refusal(*arguments: str, **changes: str) -> str:
    """Run a `serve` that must not start; return its one line of complaint."""
    port = () if "--port" in arguments else ("--port", str(free_port()))
    done = subprocess.run(
        firesteel("serve", *port, *arguments),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment(changes),
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "never retrieved" not in done.stderr
    (error,) = [line for line in done.stderr.splitlines() if line and not line.startswith("firesteel: ")]
    assert error.startswith("error: ")
    return error


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    assert "/nonexistent.gguf" in refusal("--model", "/nonexistent.gguf", FIRESTEEL_HOME=str(tmp_path))
    assert "no-such-model" in refusal("--model", "no-such-model", FIRESTEEL_HOME=str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"not a model", b"GGUF\x03\x00\x00\x00" + b"\xff" * 200])
def test_a_model_file_that_is_damaged(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "damaged.gguf"
    path.write_bytes(content)
    assert "damaged.gguf" in refusal("--backend", "llamacpp", "--model", str(path))


def test_a_script_that_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    path.write_text('{"rules": [{"mach": "x"}]}')
    assert "mach" in refusal("--backend", "scripted", "--script", str(path))


def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = refusal("--backend", "scripted", "--port", str(port))
    assert str(port) in error
    assert "--port" in error


def test_other_hosts_need_a_key() -> None:
    assert "FIRESTEEL_API_KEY" in refusal("--backend", "scripted", "--host", "0.0.0.0")


def test_with_a_key_only_its_holders_come_in() -> None:
    with serving("--host", "0.0.0.0", env={"FIRESTEEL_API_KEY": "s3cret"}) as live:
        assert live.health() == 200
        for key in (None, "Bearer wrong", "Bearer", "Basic s3cret", "s3cret", "Bearer s3cret2", "Bearer schlüssel"):
            headers = [(b"authorization", key.encode())] if key is not None else []
            for path in ("/v1/models", "/metrics"):
                response = live.http.get(path, headers=headers)
                assert response.status_code == 401
                assert response.json()["error"]["code"] == "invalid_api_key"
            response = live.http.post("/v1/chat/completions", json=chat_body("hello"), headers=headers)
            assert response.status_code == 401
        with live.openai(api_key="s3cret") as client:
            assert [model.id for model in client.models.list()] == ["scripted"]


def test_any_model_is_accepted_where_that_was_asked_for() -> None:
    with serving("--accept-any-model") as live:
        answer = live.http.post("/v1/chat/completions", json={**chat_body("hello"), "model": "gpt-99"})
        assert answer.status_code == 200
        assert answer.json()["model"] == "scripted"
