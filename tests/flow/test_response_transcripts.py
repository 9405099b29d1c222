"""Golden transcripts of `/v1/responses`, over HTTP and over a WebSocket: whole turns, with what steering makes of them.

A case is a folder in `responses/`: `request.json`, the body or the client's event; `script.json`, what happens then
(the engine's last sequence does `["say", text]`, `["finish", reason]` or `["fail", code]`, the one before it
`["end", reason]`, the client `["steer", words]` or `["stop", reason]`); and what a client receives: `response.sse`,
`response.json`, or `response.frames`, one frame of the WebSocket in each line.
"""

import asyncio
import json
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import msgspec
import pytest
from openai.types.responses import Response

from firesteel.responses import echo, steering
from firesteel.responses.turn import Turn
from firesteel.server.lanes import LaneTransport
from firesteel.server.metrics import Metrics
from firesteel.stream import response_events, sse
from firesteel.stream.response_events import WireEvent
from firesteel.visit import UNCOUNTED
from firesteel.wire.decode import decode
from firesteel.wire.openai_responses import CreateEvent, ResponsesBody
from tests.responses.stage import Recorder, Stage, check, settle

CASES = sorted(path.parent for path in (Path(__file__).parent / "responses").glob("*/request.json"))
NOW = 1_700_000_000


class Connection:
    """The other end of a lane: it keeps the frames."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.service = SimpleNamespace(metrics=Metrics())

    async def send(self, events: list[WireEvent]) -> None:
        self.frames += [data for _, data in events]


class Body(Recorder):
    """The other end of a stream: it keeps the bytes."""

    def __init__(self) -> None:
        super().__init__(is_eager=False)
        self.stream = b""

    async def send(self, events: list[WireEvent]) -> None:
        await super().send(events)
        self.stream += b"".join(map(response_events.sse, events))


@pytest.fixture(autouse=True)
def always_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Number what is made, and stop the clock."""
    numbers = count(1)
    for module in (echo, steering):
        monkeypatch.setattr(module, "uuid4", lambda: UUID(int=next(numbers)))
    monkeypatch.setattr("time.time", lambda: float(NOW))


async def play(stage: Stage, turn: Turn, script: list[list[str]]) -> None:
    """Run `turn` while the script happens."""
    task = asyncio.create_task(turn.run())
    await settle()
    for what, word in script:
        last = len(stage.engine.works) - 1
        if what == "say":
            stage.engine.say(word, last)
        elif what == "finish":
            stage.engine.finish(last, word)  # type: ignore[arg-type]  # a script names no other reasons
        elif what == "end":  # of the predecessor; its successor is the last one
            stage.engine.finish(last - 1, word)  # type: ignore[arg-type]
        elif what == "fail":
            stage.engine.fail(last, word)
        elif what == "steer":
            await stage.steer(turn, word)
        else:
            turn.stop(word)
        await settle()
    await asyncio.wait_for(task, 5)


async def answer(case: Path) -> bytes:
    """Return what a client receives, as it is kept in the case."""
    data, stage = (case / "request.json").read_bytes(), Stage()
    script = msgspec.json.decode((case / "script.json").read_bytes(), type=list[list[str]])
    try:
        if (case / "response.frames").exists():
            return await _over_a_socket(stage, decode(data, CreateEvent), script)
        return await _over_http(stage, decode(data, ResponsesBody), script)
    finally:
        stage.close()


async def _over_a_socket(stage: Stage, create: CreateEvent, script: list[list[str]]) -> bytes:
    connection: Any = Connection()
    transport = LaneTransport(connection, Metrics(), UNCOUNTED)
    lane = create.stream_id
    turn = await stage.responses.turn(create, transport, request_id="r", connection=stage.connection, stream_id=lane)
    await play(stage, turn, script)
    return b"".join(frame + b"\n" for frame in connection.frames)


async def _over_http(stage: Stage, body: ResponsesBody, script: list[list[str]]) -> bytes:
    out = Body()
    turn = await stage.responses.turn(body, out, request_id="r")
    await play(stage, turn, script)
    return out.stream + sse.DONE if body.stream else msgspec.json.encode(turn.response) + b"\n"


def expected(case: Path) -> bytes:
    return next(case.glob("response.*")).read_bytes()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_transcript(case: Path) -> None:
    assert (await answer(case)).decode() == expected(case).decode()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_official_sdk_accepts_it(case: Path) -> None:
    lines = expected(case).decode().splitlines()
    if (case / "response.json").exists():
        Response.model_validate(json.loads(lines[0]))
        return
    data = [line.removeprefix("data: ") for line in lines if line.startswith(("data: {", "{"))]
    check([json.loads(text) for text in data])


def test_there_are_cases_of_both_transports() -> None:
    assert {case.name.partition("_")[0] for case in CASES} == {"http", "socket"}
