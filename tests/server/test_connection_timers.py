"""No state of a connection lasts for ever, and none ends an answer that is under way."""

import json
import time
from collections.abc import Iterator

import pytest

from tests.server.live import Live, Wire, chat_body, serving

HEALTH = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"
LAST_HEALTH = b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
REFUSED = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2000\r\n\r\n" + b"{" * 10
REST = b" " * 1990


@pytest.fixture(scope="module")
def locked() -> Iterator[Live]:
    with serving("--header-timeout", "1", env={"FIRESTEEL_API_KEY": "secret"}) as live:
        yield live


def stream() -> bytes:
    """Return a request whose answer takes three times the time of a head."""
    body = json.dumps(chat_body("slow", stream=True, max_tokens=300)).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer secret\r\n"
    return head + b"content-length: %d\r\n\r\n" % len(body) + body


def refuse(wire: Wire) -> None:
    """Be refused in the middle of a body."""
    wire.socket.sendall(REFUSED)
    raw = wire.read()
    while not raw.endswith(b"}}"):
        raw += wire.read()
    assert b" 401 " in raw.split(b"\r\n")[0]


@pytest.mark.parametrize("rest", [REST, REST[:1], b"", REST + b"\r\n"], ids=["whole", "a byte", "none", "a line more"])
def test_a_refused_client_that_goes_silent_is_left(locked: Live, rest: bytes) -> None:
    """Who has no key takes a connection for so long only."""
    with Wire(locked.port) as wire:
        refuse(wire)
        wire.socket.sendall(rest)
        assert wire.read_to_end() == b""


def test_half_a_head_in_the_read_that_ends_a_refused_body_is_late(locked: Live) -> None:
    with Wire(locked.port) as wire:
        refuse(wire)
        wire.socket.sendall(REST + HEALTH[:20])
        assert wire.read_to_end().startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("cut", [0, 20])
def test_behind_a_refused_body_the_connection_serves_on(locked: Live, cut: int) -> None:
    with Wire(locked.port) as wire:
        refuse(wire)
        wire.socket.sendall(REST + LAST_HEALTH[:cut])
        time.sleep(0.1)
        wire.socket.sendall(LAST_HEALTH[cut:])
        assert wire.read_to_end().startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("before", [b"", HEALTH], ids=["first", "second"])
@pytest.mark.parametrize("header", [b"content-length: 10", b"x: " + b"y" * 9000], ids=["a body", "a long header"])
def test_an_upgrade_that_opens_no_socket_takes_no_connection(locked: Live, before: bytes, header: bytes) -> None:
    upgrade = b"GET /v1/responses HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    with Wire(locked.port) as wire:
        wire.socket.settimeout(8)
        wire.socket.sendall(before)
        assert not before or b" 200 " in wire.read()
        wire.socket.sendall(upgrade + header + b"\r\n\r\n")
        assert b"HTTP/1.1 400 " in wire.read_to_end()


@pytest.mark.parametrize("ahead", [b"", HEALTH], ids=["second", "third"])
def test_half_a_head_behind_a_stream_is_late_when_the_stream_is_out(locked: Live, ahead: bytes) -> None:
    with Wire(locked.port) as wire:
        wire.socket.sendall(stream())
        wire.read()
        wire.socket.sendall(ahead + HEALTH[:20])
        raw = wire.read_to_end()
    assert raw.index(b"[DONE]") < raw.index(b"HTTP/1.1 408 ")
    assert raw.count(b"HTTP/1.1 200 ") == (1 if ahead else 0)


def test_a_head_that_is_split_behind_a_stream_is_answered(locked: Live) -> None:
    """With a request waiting, nothing is read: the third head is late through no fault of its sender."""
    with Wire(locked.port) as wire:
        wire.socket.sendall(stream())
        wire.read()
        wire.socket.sendall(HEALTH + LAST_HEALTH[:20])
        time.sleep(0.1)
        wire.socket.sendall(LAST_HEALTH[20:])
        raw = wire.read_to_end()
    assert b"[DONE]" in raw
    assert raw.count(b"HTTP/1.1 200 ") == 2
