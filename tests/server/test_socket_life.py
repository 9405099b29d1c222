"""A connection's life: its limits in time, its queue, and a client that takes nothing any more."""

import asyncio
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.datastructures import Headers

from firesteel.config import ServerConfig
from firesteel.server.metrics import Metrics
from firesteel.server.websocket import Connection
from firesteel.service.keyring import ANYONE, Keyring
from firesteel.types import Progress
from firesteel.visit import UNCOUNTED
from tests.responses.stage import Stage, settle


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
        self.receive_text(json.dumps({"type": "response.create", "model": "fake", "input": text, **fields}))

    def receive_text(self, frame: str) -> None:
        self._frames.put_nowait({"type": "websocket.receive", "text": frame})

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
    def kinds(self) -> list[str]:
        return [event["type"].removeprefix("response.") for event in self.sent]


class Life:
    """A connection on a fake engine."""

    def __init__(self, stage: Stage, **config: Any) -> None:
        self.stage, self.socket = stage, FakeSocket()
        service: Any = SimpleNamespace(
            config=ServerConfig(**config),
            metrics=Metrics(),
            keyring=Keyring(None),
            desk=SimpleNamespace(visit=lambda *_: UNCOUNTED),
            pipeline=stage.responses.pipeline,
            ready_responses=lambda: stage.responses,
            require_open=lambda: None,
            sockets=set(),
        )
        made: Any = self.socket
        self.connection = Connection(service, made, ANYONE)
        self.task = asyncio.create_task(self.connection.serve())


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage(max_live=1, max_queue=100)
    yield made
    made.close()


async def test_an_old_connection_takes_nothing_new_and_leaves_when_all_has_ended(stage: Stage) -> None:
    life = Life(stage, socket_seconds=0.05)
    life.socket.create()
    await asyncio.sleep(0.1)
    life.socket.create()
    await settle()
    limits = [event for event in life.socket.sent if event["type"] == "error"]
    assert [event["error"]["code"] for event in limits] == ["websocket_connection_limit_reached"] * 2
    assert life.socket.closed is None
    stage.engine.finish(0)
    await asyncio.wait_for(life.task, 5)
    assert life.socket.closed == 1001
    assert life.socket.kinds[-1] == "completed"


async def test_a_client_that_takes_nothing_is_left(stage: Stage) -> None:
    life = Life(stage, idle_write_seconds=0.05)
    life.socket.create()
    await settle()
    life.socket.reads.clear()
    stage.engine.say("a")
    await asyncio.wait_for(life.task, 5)
    assert stage.engine.cancelled == [stage.engine.works[0].id]


async def test_progress_is_told(stage: Stage) -> None:
    life = Life(stage)
    life.socket.create()
    await settle()
    stage.engine.tell(0, lambda id: Progress(id, 3, 9))
    await settle()
    progress = life.socket.sent[-1]
    assert progress["type"] == "firesteel.progress"
    assert (progress["computed_tokens"], progress["prompt_tokens"]) == (3, 9)
    assert [event["sequence_number"] for event in life.socket.sent] == list(range(len(life.socket.sent)))
    life.socket.leave()
    await asyncio.wait_for(life.task, 5)
    assert stage.responses.active == {}


async def test_a_request_that_waits_for_its_turn_is_queued_and_says_so(stage: Stage) -> None:
    life = Life(stage)
    for lane in ("a", "b", "c", "d"):
        life.socket.create(stream_id=lane)
    while "queued" not in life.socket.kinds:
        await asyncio.sleep(0.05)
    (queued,) = [event for event in life.socket.sent if event["type"] == "response.queued"]
    assert queued["response"]["status"] == "queued"
    for number in range(4):
        while len(stage.engine.works) <= number:
            await settle()
        stage.engine.finish(number)
    while life.socket.kinds.count("completed") < 4:
        await settle()
    of_lane = [event["type"] for event in life.socket.sent if event.get("stream_id") == queued["stream_id"]]
    assert of_lane[:2] == ["response.created", "response.queued"]
    assert of_lane.index("response.in_progress") > 1
    life.socket.leave()
    await asyncio.wait_for(life.task, 5)


async def test_a_lane_does_not_grow_without_end(stage: Stage) -> None:
    life = Life(stage)
    for _ in range(70):
        life.socket.create()
    await settle()
    for _ in range(10):
        await settle()
    errors = [event["error"]["code"] for event in life.socket.sent if event["type"] == "error"]
    assert errors == ["rate_limit_exceeded"] * len(errors)
    assert len(errors) in (5, 6)
    life.socket.leave()
    await asyncio.wait_for(life.task, 5)
