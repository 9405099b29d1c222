"""Thin clients for benchmarks/service.py: they share the cores with the server that they measure."""

import json
import re
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


def seconds_of(action: Callable[[], Any]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def request_bytes(key: str, text: str, max_tokens: int, *, stream: bool = False) -> bytes:
    messages = [{"role": "user", "content": text}]
    fields = {"model": "scripted", "messages": messages, "max_tokens": max_tokens, "stream": stream}
    body = json.dumps(fields).encode()
    auth = f"authorization: Bearer {key}\r\n" if key else ""
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n{auth}content-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def connected(port: int) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port))
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def is_whole(data: bytes) -> bool:
    """Whether `data` is one whole response with a length."""
    head, end, body = data.partition(b"\r\n\r\n")
    found = LENGTH.search(head)
    if end and not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(data[:300])
    return bool(end and found and len(body) >= int(found[1]))


def ask(connection: socket.socket, data: bytes) -> float:
    began = time.perf_counter()
    connection.sendall(data)
    received = b""
    while not is_whole(received):
        received += connection.recv(65_536)
    return time.perf_counter() - began


def pairs(first: tuple[int, str], second: tuple[int, str], seconds: float) -> tuple[list[float], list[float]]:
    """Ask two servers (port, key) in turns; return the seconds that each answer took."""
    sides = [(connected(port), request_bytes(key, "short", 1)) for port, key in (first, second)]
    taken: tuple[list[float], list[float]] = ([], [])
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        for (connection, data), values in zip(sides, taken, strict=True):
            values.append(ask(connection, data))
    return taken


def time_to_first_text(port: int, key: str, text: str, max_tokens: int) -> float:
    with connected(port) as connection:
        began = time.perf_counter()
        connection.sendall(request_bytes(key, text, max_tokens, stream=True))
        received = b""
        while b'"content":"' not in received.replace(b'"content":""', b""):
            received += connection.recv(65_536)
        return time.perf_counter() - began


class Crowd:
    """Many connections of one key, each of which asks again as soon as it is answered."""

    def __init__(self, port: int, key: str, size: int, text: str = "short", max_tokens: int = 1) -> None:
        self._data = request_bytes(key, text, max_tokens)
        self._connections = [connected(port) for _ in range(size)]

    def run(self, seconds: float) -> float:
        """Return answers a second."""
        selector = selectors.DefaultSelector()
        received: dict[int, bytes] = {}
        for connection in self._connections:
            selector.register(connection, selectors.EVENT_READ)
            connection.sendall(self._data)
        number, began = 0, time.perf_counter()
        while time.perf_counter() < began + seconds:
            for entry, _ in selector.select(1.0):
                connection = entry.fileobj
                assert isinstance(connection, socket.socket)
                data = received.pop(entry.fd, b"") + connection.recv(65_536)
                if is_whole(data):
                    number += 1
                    connection.sendall(self._data)
                else:
                    received[entry.fd] = data
        rate = number / (time.perf_counter() - began)
        self.close()
        return rate

    @contextmanager
    def asking(self, lead_seconds: float) -> Iterator[None]:
        """Ask once on every connection, and stay connected for as long as the context lasts."""
        for connection in self._connections:
            connection.sendall(self._data)
        time.sleep(lead_seconds)
        try:
            yield
        finally:
            self.close()

    def close(self) -> None:
        for connection in self._connections:
            connection.close()
