"""Frames that no WebSocket client sends: the connection ends with a reason, and nothing else suffers."""

import socket
import struct
from collections.abc import Iterator

import pytest

from tests.server.live import Live, serving
from tests.server.sockets import socket_to

TEXT, CONTINUATION, PING, FINAL, MASKED = 0x1, 0x0, 0x9, 0x80, 0x80
HANDSHAKE = (
    b"GET /v1/responses HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
)


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    """A server of its own, whose log is read."""
    with serving() as made:
        yield made


def frame(first: int, payload: bytes, *, mask: bool = True) -> bytes:
    """Return a frame with a mask of zeros, so that its payload is as it is."""
    return bytes([first, len(payload) | (MASKED if mask else 0)]) + (bytes(4) if mask else b"") + payload


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(FINAL | TEXT, b'"\xff"'), 1007),
        (frame(FINAL | TEXT, b"{}", mask=False), 1002),
        (frame(FINAL | 0x40 | TEXT, b"{}"), 1002),
        (frame(FINAL | 0x3, b"{}"), 1002),
        (frame(FINAL | CONTINUATION, b"{}"), 1002),
        (frame(TEXT, b"{") + frame(FINAL | TEXT, b"}"), 1002),
        (frame(PING, b""), 1002),
        (bytes([FINAL | TEXT, MASKED | 127]) + struct.pack(">Q", 2**62) + bytes(4), 1009),
        (bytes([FINAL | TEXT, MASKED | 127]) + struct.pack(">Q", 2**63) + bytes(4), 1009),
    ],
    ids=[
        "no UTF-8",
        "no mask",
        "reserved bit",
        "unknown kind",
        "no beginning",
        "no end",
        "cut ping",
        "large",
        "larger",
    ],
)
def test_it_ends_with_a_reason(live: Live, sent: bytes, code: int) -> None:
    with socket.create_connection(("127.0.0.1", live.port), 30) as client:
        assert answer(client, HANDSHAKE, b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
        client.sendall(sent)
        received = b"".join(iter(lambda: client.recv(4096), b""))
    assert received[0] == FINAL | 0x8
    assert struct.unpack(">H", received[2:4])[0] == code
    assert live.health() == 200
    assert "Traceback" not in live.log.read_text()


def answer(client: socket.socket, sent: bytes, end: bytes) -> bytes:
    client.sendall(sent)
    received = b""
    while not received.endswith(end):
        received += client.recv(4096)
    return received


def test_a_message_in_many_fragments_is_one(live: Live) -> None:
    with socket_to(live) as client:
        client.raw.send(iter(['{"type": "response.create", "model": "scr', 'ipted", "input": "hel', 'lo"}']))
        assert client.until()[-1]["type"] == "response.completed"


def test_a_client_that_leaves_in_the_middle_of_a_frame(live: Live) -> None:
    for sent in (HANDSHAKE[:40], HANDSHAKE, HANDSHAKE + frame(TEXT, b'{"type": '), HANDSHAKE + b"\x81"):
        with socket.create_connection(("127.0.0.1", live.port), 30) as client:
            client.sendall(sent)
    live.wait_idle()
    assert live.chat("hello").status_code == 200
    assert "Traceback" not in live.log.read_text()
