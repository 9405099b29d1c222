"""The end of a server: what runs may end within the grace period, what does not is told why; nothing is left."""

import signal
import socket
import time
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from tests.server.live import (
    Live,
    Wire,
    chat_body,
    chunks_of,
    is_done,
    serving,
    unchunked,
    wait_for,
)
from tests.server.sockets import socket_to


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_streams_that_can_end_within_the_grace_period_do(number: signal.Signals) -> None:
    with serving("--grace", "20") as live, Wire(live.port) as wire:
        wire.post(chat_body("slow", stream=True, max_tokens=60))
        received = wire.read()
        children = live.children()
        live.process.send_signal(number)
        received += wire.read_to_end()
        assert is_done(unchunked(received)[1])
        assert live.process.wait(timeout=10) == 0
        assert not [child for child in children if child.is_running()]
        assert "Traceback" not in live.log.read_text()


@pytest.mark.parametrize("waits", [True, False])
def test_a_second_ctrl_c_ends_the_grace_period_and_says_so(waits: bool) -> None:
    with serving("--grace", "60") as live, Wire(live.port) as wire, Wire(live.port) as other:
        for connection in (wire, other):
            connection.post(chat_body("slow", stream=True))
        received, _ = wire.read(), other.read()
        live.process.send_signal(signal.SIGINT)
        if waits:
            wait_for(lambda: not listens(live.port), "it has begun to end")
        else:
            time.sleep(0.02)  # two of the same signal at once are one
        live.process.send_signal(signal.SIGINT)
        received += wire.read_to_end()
        assert chunks_of(unchunked(received)[1])[-1]["error"]["code"] == "server_not_ready"
        assert live.process.wait(timeout=15) == 0
        assert "Traceback" not in live.log.read_text()


def test_streams_that_outlast_the_grace_period_are_told_why_they_end() -> None:
    with serving("--grace", "0.3", "--max-live", "1") as live:
        with Wire(live.port) as wire, Wire(live.port) as queued:
            wire.post(chat_body("slow", stream=True))
            received = wire.read()
            queued.post(chat_body("hello"))
            live.wait_engine(num_waiting=1)
            children = live.children()
            live.process.terminate()
            received += wire.read_to_end()
            status, body = unchunked(queued.read_to_end())
        assert chunks_of(unchunked(received)[1])[-1]["error"]["code"] == "server_not_ready"
        assert status == 503
        assert b"shutting down" in body
        assert live.process.wait(timeout=10) == 0
        assert not [child for child in children if child.is_running()]
        assert "Traceback" not in live.log.read_text()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_socket_answers_what_it_has_begun_and_nothing_new() -> None:
    with serving("--grace", "20") as live, socket_to(live) as client:
        client.create("slow", max_output_tokens=100, stream_id="a")
        client.until("response.output_text.delta")
        live.process.terminate()
        wait_for(lambda: not listens(live.port), "it does not listen any more")
        client.create("hello", stream_id="b")
        events = client.until("response.incomplete")
        assert [e["error"]["code"] for e in events if e["type"] == "error"] == ["server_not_ready"]
        with pytest.raises(ConnectionClosed) as closed:
            client.receive()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        assert live.process.wait(timeout=10) == 0


def test_a_response_that_outlasts_the_grace_period_fails_with_a_reason() -> None:
    with serving("--grace", "0.3") as live, socket_to(live) as client:
        client.create("slow")
        client.until("response.output_text.delta")
        live.process.terminate()
        failed = client.until("response.failed")[-1]["response"]["error"]
        assert "shutting down" in failed["message"]
        assert live.process.wait(timeout=10) == 0


def in_the_background(live: Live, text: str, **fields: object) -> str:
    body = {"model": "scripted", "input": text, "background": True, **fields}
    id: str = live.http.post("/v1/responses", json=body).json()["id"]
    return id


def test_what_nobody_waits_for_has_the_grace_period_too(tmp_path: Path) -> None:
    store = ("--response-store", str(tmp_path / "responses.db"))
    with serving(*store, "--grace", "20") as live:
        ended = in_the_background(live, "slow", max_output_tokens=60)
        live.process.terminate()
        assert live.process.wait(timeout=15) == 0
    with serving(*store, "--grace", "0.3", "--max-live", "1") as live:
        assert live.http.get(f"/v1/responses/{ended}").json()["usage"]["output_tokens"] == 60
        cut = [in_the_background(live, "slow") for _ in range(6)]
        live.process.terminate()
        assert live.process.wait(timeout=10) == 0
        assert "Traceback" not in live.log.read_text()
    with serving(*store) as live:
        found = [live.http.get(f"/v1/responses/{id}").json() for id in cut]
    assert {response["status"] for response in found} == {"failed"}
    assert all("shutting down" in response["error"]["message"] for response in found)
