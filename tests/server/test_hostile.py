"""Clients that mean harm: paths that climb, hundreds of idle connections, ids that carry headers, slow readers."""

import json
import resource
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack

import psutil
import pytest

from tests.server.live import PATIENCE_SECONDS, Live, Wire, chat_body, serving, wait_for
from tests.server.sockets import socket_to

MANY = 2000


@pytest.fixture(scope="module")
def victim() -> Iterator[Live]:
    with serving("--header-timeout", "300", "--write-timeout", "1", "--max-connections", "2500") as live:
        yield live


CLIMBING = [
    "/../../../../etc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/v1/models/../../../etc/passwd",
    "/v1/models/..%2f..%2f..%2fetc%2fpasswd",
    "/v1/responses/..%2f..%2fresponses.db",
    "/v1/responses/%00",
    "/v1/responses/'%20OR%20'1'='1",
    "//etc/passwd",
    "/v1//models",
    "/.env",
    "/" + "a" * 9000,
]


@pytest.mark.parametrize("path", CLIMBING, ids=lambda path: path[:40])
def test_no_path_leads_anywhere_else(victim: Live, path: str) -> None:
    with Wire(victim.port) as wire:
        wire.socket.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        raw = wire.read_to_end()
    assert int(raw.split(b" ")[1]) == 404
    assert b"root:" not in raw
    assert json.loads(raw.partition(b"\r\n\r\n")[2])["error"]["message"]


@pytest.mark.parametrize("model", ["../../etc/passwd", "/etc/passwd", "hf:evil/repo/file.gguf", "http://evil/x"])
def test_no_model_name_opens_or_pulls_anything(victim: Live, model: str) -> None:
    answer = victim.http.post("/v1/chat/completions", json={**chat_body("hello"), "model": model})
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize("id", [b"a\tb", b"\xff\xfe", b"x" * 5000, b"' OR 1=1", b"<script>"])
def test_an_id_of_the_client_comes_back_as_one_short_header(victim: Live, id: bytes) -> None:
    body = json.dumps(chat_body("hello", max_tokens=1)).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-request-id: " + id
    with Wire(victim.port) as wire:
        wire.socket.sendall(head + b"\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        raw = wire.read_to_end()
    status = int(raw.split(b" ")[1])
    assert status in (200, 400, 431)
    for line in raw.partition(b"\r\n\r\n")[0].split(b"\r\n"):
        assert not line.lower().startswith(b"x-request-id") or len(line) < 100


def test_thousands_of_idle_connections_leave_the_others_alone(victim: Live) -> None:
    limit, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < MANY + 200:
        pytest.skip(f"NOT TESTED: this system allows {hard} open files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limit, MANY + 200), hard))
    server = psutil.Process(victim.process.pid)
    assert victim.chat("hello").status_code == 200
    before = server.memory_info().rss
    try:
        with ExitStack() as stack:
            for _ in range(MANY):
                idle = stack.enter_context(socket.create_connection(("127.0.0.1", victim.port), PATIENCE_SECONDS))
                idle.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-slow: ")
            wait_for(lambda: server.num_fds() > MANY, "all are connected", 30)
            assert victim.chat("hello").status_code == 200
            assert server.memory_info().rss - before < 100e6
        wait_for(lambda: server.num_fds() < MANY / 2, "all are gone", 30)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    assert victim.chat("hello").status_code == 200


def test_a_client_that_never_reads_is_left_and_its_work_ends(victim: Live) -> None:
    with Wire(victim.port, receive_buffer=4096) as wire:
        wire.post(chat_body("burst", stream=True, max_tokens=200_000))
        wait_for(lambda: victim.engine("num_running") == 1, "it runs")
        wait_for(lambda: victim.engine("num_running") == 0, "it was left", 30)
    victim.wait_idle()


def test_sockets_that_vanish_in_mid_answer_leave_no_traceback(victim: Live) -> None:
    for number in range(30):
        with socket_to(victim) as connection:
            connection.create("burst", max_output_tokens=5000)
            connection.until("response.output_text.delta")
            linger = struct.pack("ii", 1, 0)  # a RST, with the server in mid-word
            connection.raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            connection.raw.socket.close() if number % 2 else connection.raw.close()
    victim.wait_idle()
    assert "Traceback" not in victim.log.read_text()
