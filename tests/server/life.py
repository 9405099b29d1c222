"""A connection of the Responses WebSocket on a fake engine, without a server."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any

from starlette.datastructures import Headers

from firesteel.config import ServerConfig
from firesteel.server.metrics import Metrics
from firesteel.server.websocket import Connection
from firesteel.service.desk import Desk
from firesteel.service.keyring import ANYONE, Keyring
from firesteel.service.ledger_row import Prices, Row
from firesteel.service.limiter import Limiter, Limits, Memory
from tests.responses.stage import Stage

UNLIMITED = Limits()


class FakeSocket:
    """The server's side of a WebSocket; `sent` is what the client got. Cleared, `reads` lets it take nothing."""

    def __init__(self) -> None:
        self.headers = Headers({})
        self.sent: list[dict[str, Any]] = []
        self.closed: int | None = None
        self.reads = asyncio.Event()
        self.reads.set()
        self._frames: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def create(self, text: str = "x", **fields: Any) -> None:
        self._say("response.create", model="fake", input=text, **fields)

    def receive_text(self, frame: str) -> None:
        self._frames.put_nowait({"type": "websocket.receive", "text": frame})

    def steer(self, words: str = "more", id: str | None = None) -> None:
        self._say("response.steer", previous_response_id=id or self.last_id, input=words)

    def interrupt(self) -> None:
        self._say("response.interrupt", response_id=self.last_id)

    def _say(self, kind: str, **fields: Any) -> None:
        self.receive_text(json.dumps({"type": kind, **fields}))

    def leave(self) -> None:
        self._frames.put_nowait({"type": "websocket.disconnect"})

    async def receive(self) -> dict[str, Any]:
        return await self._frames.get()

    async def send(self, message: dict[str, Any]) -> None:
        await self.reads.wait()
        self.sent.append(json.loads(message["text"]))

    async def close(self, code: int) -> None:
        self.closed = code
        self.leave()

    @property
    def last_id(self) -> str:
        """The id of the response that began last."""
        id: str = [event["response"]["id"] for event in self.sent if event["type"] == "response.created"][-1]
        return id

    @property
    def errors(self) -> list[dict[str, Any]]:
        return [event for event in self.sent if event["type"] == "error"]

    @property
    def kinds(self) -> list[str]:
        return [event["type"].removeprefix("response.") for event in self.sent]


class Life:
    """A connection on a fake engine; `rows` is its ledger, `statuses` what the log says of its requests."""

    def __init__(self, stage: Stage, limits: Limits = UNLIMITED, **config: Any) -> None:
        self.stage, self.socket = stage, FakeSocket()
        self.rows: list[Row] = []
        self.statuses: list[object] = []
        self.keyring = Keyring(None)
        ledger: Any = SimpleNamespace(put=self.rows.append)
        service: Any = SimpleNamespace(
            config=ServerConfig(**config),
            metrics=Metrics(),
            keyring=self.keyring,
            desk=Desk(Limiter(Memory(lambda: 0.0)), ledger, limits, Prices()),
            pipeline=stage.responses.pipeline,
            ready_responses=lambda: stage.responses,
            require_open=lambda: None,
            sockets=set(),
            listeners=[lambda record, _: self.statuses.append(record.fields()["status"])],
        )
        made: Any = self.socket
        self.connection = Connection(service, made, ANYONE)
        self.task = asyncio.create_task(self.connection.serve())

    async def ends(self) -> None:
        """Let the client leave, if it has not, and wait until the connection has ended."""
        self.socket.leave()
        await asyncio.wait_for(self.task, 5)
