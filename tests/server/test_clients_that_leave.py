"""Slow readers, silent readers and clients that vanish: none costs others anything, none leaves work behind."""

import sys
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.server.live import Live, Wire, chat_body, is_done, serving, text_of, unchunked, wait_for

# A minute and more of work, in steps far apart, which no test waits for.
LONG_PROMPT = "read slowly " + "word " * 8_000


def vanish(wire: Wire, how: str) -> None:
    if how == "reset":
        wire.reset()
    else:
        wire.socket.close()


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("stream", [True, False])
def test_leaving_in_mid_stream_frees_the_sequence(server: Live, how: str, stream: bool) -> None:
    wire = Wire(server.port).post(chat_body("slow", stream=stream))
    if stream:
        assert b" 200 OK" in wire.read()
    server.wait_engine(num_running=1)
    vanish(wire, how)
    server.wait_idle()


@pytest.mark.parametrize("how", ["close", "reset"])
def test_leaving_in_mid_prefill_interrupts_it(server: Live, how: str) -> None:
    wire = Wire(server.port).post(chat_body(LONG_PROMPT, stream=True))
    server.wait_engine(num_running=1)
    vanish(wire, how)
    server.wait_idle()


def test_leaving_before_the_body_is_whole(server: Live) -> None:
    with Wire(server.port) as wire:
        wire.socket.sendall(b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{")
    assert server.chat("hello").status_code == 200


def test_a_slow_reader_gets_everything_and_delays_nobody(server: Live) -> None:
    wanted = server.chat("burst", max_tokens=20_000, temperature=0).json()["choices"][0]["message"]["content"]
    body = chat_body("burst", max_tokens=20_000, temperature=0, stream=True)
    with Wire(server.port, receive_buffer=4096) as wire:
        wire.post(body)
        received = wire.read(10)
        assert server.chat("hello").status_code == 200
        server.wait_idle()  # the answer is complete, though hardly anything of it has been read
        while data := wire.read(1000):
            received += data
    status, stream = unchunked(received)
    assert status == 200
    assert is_done(stream)
    assert text_of(stream) == wanted


@pytest.fixture(scope="module")
def impatient_server() -> Iterator[Live]:
    """A server that gives up on a client after half a second in which it took nothing."""
    program = (
        "import sys; from firesteel.config import *; from firesteel.server.run import serve\n"
        "serve(EngineConfig(backend='scripted', script=sys.argv[2]),"
        " ServerConfig(port=int(sys.argv[1]), idle_write_seconds=0.5))"
    )
    with serving(command=lambda port, script: [sys.executable, "-c", program, str(port), script]) as live:
        yield live


def connections_to(live: Live, address: tuple[str, int]) -> list[Any]:
    connections = psutil.Process(live.process.pid).net_connections("tcp")
    return [connection for connection in connections if connection.raddr and connection.raddr.port == address[1]]


def test_a_client_that_never_reads_is_dropped(impatient_server: Live) -> None:
    # Log-probabilities make about 2 kB a token: more than the kernel's buffers take, without end.
    body = chat_body("go on", stream=True, logprobs=True, top_logprobs=20, n=4)
    with Wire(impatient_server.port, receive_buffer=4096) as wire:
        wire.post(body)
        impatient_server.wait_engine(num_running=4)
        impatient_server.wait_idle()
        wait_for(lambda: not connections_to(impatient_server, wire.address), "the connection is closed")


def test_a_slow_reader_is_not_dropped_as_long_as_it_reads(impatient_server: Live) -> None:
    body = chat_body("go on", stream=True, logprobs=True, top_logprobs=20, n=2, max_tokens=1_000)
    received = b""
    with Wire(impatient_server.port, receive_buffer=4096) as wire:
        wire.post(body)
        while data := wire.read(50_000):
            received += data
    assert is_done(unchunked(received)[1])
