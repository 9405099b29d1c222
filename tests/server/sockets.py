"""What the tests of the WebSocket share."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.server.live import PATIENCE_SECONDS, Live

LAST = ("response.completed", "response.incomplete", "response.failed", "error")


class Socket:
    """A connection that sends and receives JSON."""

    def __init__(self, connection: ClientConnection) -> None:
        self.raw = connection

    def send(self, event: dict[str, Any]) -> None:
        self.raw.send(json.dumps(event))

    def create(self, text: Any, **fields: Any) -> None:
        self.send({"type": "response.create", "model": "scripted", "input": text, **fields})

    def receive(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.raw.recv(timeout=PATIENCE_SECONDS))
        return event

    def until(self, *kinds: str) -> list[dict[str, Any]]:
        """Return the events up to the first one of `kinds`; by default a last one."""
        events = [self.receive()]
        while events[-1]["type"] not in (kinds or LAST):
            events.append(self.receive())
        return events

    def turn(self, text: Any, **fields: Any) -> dict[str, Any]:
        """Return the last event of a turn."""
        self.create(text, **fields)
        return self.until()[-1]


@contextmanager
def socket_to(live: Live, **options: Any) -> Iterator[Socket]:
    defaults: dict[str, Any] = {"max_size": None, "proxy": None, "compression": None}
    with connect(f"ws://127.0.0.1:{live.port}/v1/responses", **{**defaults, **options}) as connection:
        assert isinstance(connection, ClientConnection)
        yield Socket(connection)


def text_of(response: dict[str, Any]) -> str:
    return "".join(part["text"] for item in response["output"] if item["type"] == "message" for part in item["content"])
