"""Clients of `/v1/responses` as thin as they can be, so that what they measure is the server."""

import http.client
import json
import threading
import time
from statistics import median
from typing import Any, NamedTuple, Self

from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

from firesteel.errors import EngineFailure

MODEL = "scripted"
PATH = "/v1/responses"
SECONDS = 60.0
NUM_ECHOES = 200
ENDS = ("response.completed", "response.incomplete")


class Turn(NamedTuple):
    """How long a turn took to its first event and in all, in seconds, and its response."""

    first: float
    whole: float
    response: dict[str, Any]


class Socket:
    """One WebSocket, as a context."""

    def __init__(self, port: int) -> None:
        self._connection = connect(f"ws://127.0.0.1:{port}{PATH}", max_size=None, proxy=None, compression=None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def send(self, event: dict[str, Any]) -> None:
        """Send a client event."""
        self._connection.send(json.dumps(event))

    def receive(self) -> dict[str, Any]:
        """Return the next event. Raises EngineFailure for one that says that something failed."""
        event: dict[str, Any] = json.loads(self._connection.recv(timeout=SECONDS))
        if event["type"] in ("error", "response.failed"):
            raise EngineFailure(f"the server failed: {event}")
        return event

    def turn(self, given: Any, **fields: Any) -> Turn:
        """Run a turn."""
        data = json.dumps({"type": "response.create", "model": MODEL, "input": given, **fields})
        started = time.perf_counter()
        self._connection.send(data)
        raw = self._connection.recv(timeout=SECONDS)
        first = time.perf_counter() - started
        event = json.loads(raw)
        while event["type"] not in ENDS:
            event = self.receive()
        return Turn(first, time.perf_counter() - started, event["response"])

    def ask(self, request: dict[str, Any]) -> tuple[float, dict[str, Any]]:
        """Run a turn from a request as an object; return its seconds and its response."""
        started = time.perf_counter()
        self.send({"type": "response.create", **request})
        raw = self._connection.recv(timeout=SECONDS)
        while not _is_last(raw):
            raw = self._connection.recv(timeout=SECONDS)
        seconds = time.perf_counter() - started
        return seconds, json.loads(raw)["response"]

    def steered(self, text: str, words: str) -> tuple[float, float]:
        """Steer an answer; return the seconds from sending the words, and from the last delta, to the successor."""
        self.send({"type": "response.create", "model": MODEL, "input": text})
        id = self.receive()["response"]["id"]
        for _ in range(12):
            self.receive()
        sent = last = time.perf_counter()
        self.send({"type": "response.steer", "previous_response_id": id, "input": words})
        while (event := self.receive())["type"] != "response.created":
            last = time.perf_counter() if event["type"].endswith(".delta") else last
        created = time.perf_counter()
        while event["type"] != "response.completed":
            event = self.receive()
        return created - sent, created - last


class HttpLoop:
    """One connection that is kept, as a context."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ask(self, request: dict[str, Any]) -> tuple[float, dict[str, Any]]:
        """Stream a turn; return its seconds and its response."""
        started = time.perf_counter()
        body = json.dumps({**request, "stream": True})
        self._connection.request("POST", PATH, body, {"content-type": "application/json"})
        response, last = self._connection.getresponse(), b""
        for line in response:
            if line.startswith(b"data: {"):
                last = line
        seconds = time.perf_counter() - started
        event = json.loads(last.removeprefix(b"data: "))
        if event.get("type") not in ENDS:
            raise EngineFailure(f"the server failed: {event}")
        return seconds, event["response"]


def _is_last(raw: str | bytes) -> bool:
    head = raw[:40] if isinstance(raw, str) else raw[:40].decode()
    if '"error"' in head or '"response.failed"' in head:
        raise EngineFailure(f"the server failed: {raw!r:.500}")
    return any(f'"type":"{end}"' in head for end in ENDS)


def echo_seconds() -> float:
    """Return the median seconds of a message to a bare WebSocket server on this machine and back."""

    def echo(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(message)

    with serve(echo, "127.0.0.1", 0, compression=None) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        with connect(url, proxy=None, compression=None) as client:
            times = [_round_trip(client) for _ in range(NUM_ECHOES)]
        server.shutdown()
        thread.join()
    return median(times)


def _round_trip(client: Any) -> float:
    started = time.perf_counter()
    client.send("x" * 100)
    client.recv()
    return time.perf_counter() - started
