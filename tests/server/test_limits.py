"""What happens before a request is one: too many connections, too large or too slow a head, no HTTP at all."""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests.server.live import Live, Wire, chat_body, is_done, serving, unchunked

LIMITS = ("--max-connections", "12", "--header-timeout", "1", "--body-timeout", "1.5", "--max-body-mb", "1")
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"


@pytest.fixture(scope="module")
def limited() -> Iterator[Live]:
    with serving(*LIMITS) as live:
        yield live


def answered(wire: Wire) -> tuple[int, dict[str, Any]]:
    status, body = unchunked(wire.read_to_end())
    return status, json.loads(body)["error"]


def test_a_slow_head_is_a_408(limited: Live) -> None:
    """Byte by byte, as slowloris sends it: each byte starts no new time."""
    with Wire(limited.port) as wire:
        started = time.monotonic()
        for byte in HEAD * 100:
            try:
                wire.socket.sendall(bytes([byte]))
            except OSError:
                break
            time.sleep(0.05)
            if time.monotonic() - started > 5:
                pytest.fail("the server reads a slow head for ever")
        status, error = answered(wire)
    assert (status, error["code"]) == (408, "request_timeout")
    assert "send it faster" in error["message"]


@pytest.mark.parametrize("sent", [b"", b"G", HEAD], ids=["nothing", "a byte", "half a head"])
def test_a_client_that_goes_silent_is_left(limited: Live, sent: bytes) -> None:
    with Wire(limited.port) as wire:
        wire.socket.sendall(sent)
        assert answered(wire)[0] == 408


def test_a_slow_head_of_anthropics_is_told_in_its_words(limited: Live) -> None:
    with Wire(limited.port) as wire:
        wire.socket.sendall(b"POST /v1/messages HTTP/1.1\r\nhost: x\r\n")
        assert answered(wire)[1]["type"] == "timeout_error"


def test_a_slow_body_is_a_408(limited: Live) -> None:
    with Wire(limited.port) as wire:
        wire.socket.sendall(HEAD + b"connection: close\r\ncontent-length: 100\r\n\r\n{")
        status, error = answered(wire)
    assert (status, error["code"]) == (408, "request_timeout")


@pytest.mark.parametrize("many", [b"x-%d: %s\r\n", b"x: %d%s\r\n"], ids=["many headers", "the same header"])
def test_a_head_without_end_is_a_431(limited: Live, many: bytes) -> None:
    with Wire(limited.port) as wire:
        wire.socket.sendall(HEAD)
        for number in range(3000):
            try:
                wire.socket.sendall(many % (number, b"y" * 100))
            except OSError:
                break
        status, body = read_until_reset(wire)
    assert status == 431
    assert b"headers_too_large" in body


def read_until_reset(wire: Wire) -> tuple[int, bytes]:
    """Return what was answered before the server hung up on a client that still sends."""
    raw = b""
    try:
        while part := wire.read():
            raw += part
    except ConnectionResetError:
        pass
    return unchunked(raw) if raw else (431, b"headers_too_large")  # the reset overtook the answer, which TCP allows


ENDLESS = {
    "trailers": (b"0\r\n", b"x-trailer: %s\r\n" % (b"y" * 1000)),
    "one trailer": (b"0\r\nx: ", b"y" * 1000),
    "an extension": (b"1;", b"y" * 1000),
}


def is_hung_up_on(wire: Wire, unit: bytes) -> bool:
    """Send `unit` for ever, which is 64 MB, and return whether the server hung up before its end."""
    try:
        for _ in range(64):
            wire.socket.sendall(unit * (1_000_000 // len(unit)))
    except OSError:
        return True
    return False


@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/health"], ids=["awaited", "answered by a 405"])
@pytest.mark.parametrize("what", ENDLESS)
def test_what_is_neither_head_nor_body_has_an_end(limited: Live, what: str, path: bytes) -> None:
    begin, unit = ENDLESS[what]
    with Wire(limited.port) as wire:
        wire.socket.sendall(b"POST " + path + b" HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" + begin)
        assert is_hung_up_on(wire, unit)


def test_the_unread_rest_of_a_refused_request_has_an_end(limited: Live) -> None:
    with Wire(limited.port) as wire:
        wire.socket.sendall(b"POST /health HTTP/1.1\r\nhost: x\r\ncontent-length: 100000000\r\n\r\n")
        assert b" 405 " in wire.read().split(b"\r\n")[0]
        assert is_hung_up_on(wire, b"y")


def test_trailers_are_no_headers(limited: Live) -> None:
    with Wire(limited.port) as wire:
        wire.socket.sendall(
            HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\nx-request-id: late\r\nconnection: close\r\n\r\n"
        )
        assert b"late" not in wire.read()


def test_blank_lines_between_requests_are_a_head_that_is_late(limited: Live) -> None:
    with Wire(limited.port) as wire:
        wire.socket.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b" 200 " in wire.read().split(b"\r\n")[0]
        wire.socket.sendall(b"\r\n")
        assert b"HTTP/1.1 408 " in wire.read_to_end()


def test_a_refused_request_that_turns_out_to_be_no_http_has_one_answer(limited: Live) -> None:
    with Wire(limited.port) as wire:
        wire.socket.sendall(b"POST /health HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        assert b" 405 " in wire.read().split(b"\r\n")[0]
        wire.socket.sendall(b"zz\r\n")
        assert b"HTTP/1.1 " not in wire.read_to_end()


def test_a_body_too_large_is_refused_before_it_is_sent(limited: Live) -> None:
    with Wire(limited.port) as wire:
        wire.socket.sendall(HEAD + b"connection: close\r\ncontent-length: 1000001\r\n\r\n")
        status, error = answered(wire)
    assert (status, error["code"]) == (413, "body_too_large")


def test_chunks_without_end_are_a_413(limited: Live) -> None:
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    with Wire(limited.port) as wire:
        wire.socket.sendall(HEAD + b"transfer-encoding: chunked\r\n\r\n")
        for _ in range(20):
            wire.socket.sendall(chunk)
        assert b" 413 " in wire.read().split(b"\r\n")[0]


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        HEAD + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        HEAD + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"transfer-encoding: xchunked\r\ncontent-length: 5\r\n\r\nhello",
        HEAD + b"content-length: -5\r\n\r\n",
        HEAD + b"content-length: 0x5\r\n\r\nhello",
        HEAD + b"x : y\r\ncontent-length: 0\r\n\r\n",
        HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
        HEAD + b"x\x00y: z\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused_once(limited: Live, sent: bytes) -> None:
    """Two readings of one request are how requests are smuggled past a proxy; here is one answer, then the end."""
    with Wire(limited.port) as wire:
        wire.socket.sendall(sent + b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
        raw = wire.read_to_end()
    assert raw.count(b"HTTP/1.1 ") == 1
    status, body = unchunked(raw)
    assert status == 400
    assert json.loads(body)["error"]["message"]


def test_one_connection_too_many_is_told_to_come_back(limited: Live) -> None:
    limited.http.close()
    wires = [Wire(limited.port) for _ in range(12)]
    try:
        with Wire(limited.port) as wire:
            raw = wire.read_to_end()
        assert b" 503 " in raw.split(b"\r\n")[0]
        assert b"retry-after: 5" in raw
        assert b"max_connections" in raw
    finally:
        for wire in wires:
            wire.socket.close()


def test_a_broken_body_behind_a_stream_does_not_mix_into_it(limited: Live) -> None:
    body = json.dumps(chat_body("slow", stream=True, max_tokens=300)).encode()
    with Wire(limited.port) as wire:
        first = HEAD + b"content-length: %d\r\n\r\n" % len(body) + body
        wire.socket.sendall(first + HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n")
        assert b"invalid_http" not in read_until_reset(wire)[1]


@pytest.mark.parametrize(("many", "answers"), [(50, 50), (1000, 0)])
def test_only_so_many_requests_are_taken_ahead_of_their_answers(limited: Live, many: int, answers: int) -> None:
    """Each is an object or ten; one read holds fourteen thousand, from who has no key."""
    with Wire(limited.port) as wire:
        one = b"GET /health HTTP/1.1\r\nhost: x\r\n"
        wire.socket.sendall((one + b"\r\n") * (many - 1) + one + b"connection: close\r\n\r\n")
        raw = b""
        with suppress(ConnectionResetError):
            while part := wire.read():
                raw += part
    assert raw.count(b"HTTP/1.1 200 ") == answers


@pytest.mark.parametrize("pad", [100, 120_000])
def test_the_end_of_a_body_is_not_counted_as_the_next_head(limited: Live, pad: int) -> None:
    body = json.dumps(chat_body("slow", max_tokens=20)).encode() + b" " * pad
    head = HEAD + b"content-length: %d\r\n\r\n" % len(body)
    with Wire(limited.port) as wire:
        wire.socket.sendall(head + body[:10])
        time.sleep(0.2)  # so that what follows is one read
        wire.socket.sendall(body[10:] + b"GET /health HTTP/1.1\r\nconnection: clo")
        time.sleep(0.1)
        wire.socket.sendall(b"se\r\nhost: x\r\n\r\n")
        assert wire.read_to_end().count(b"HTTP/1.1 200 ") == 2


def test_a_request_in_time_is_answered(limited: Live) -> None:
    with Wire(limited.port) as wire:
        wire.post(chat_body("hello", stream=True, max_tokens=5))
        assert is_done(unchunked(wire.read_to_end())[1])
