"""A connection's life: its limits in time, its queue, and a client that takes nothing any more."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from firesteel.types import Progress
from tests.responses.stage import Stage, settle
from tests.server.life import Life


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


async def test_an_old_connection_is_not_held_by_steering(stage: Stage) -> None:
    life = Life(stage, socket_seconds=0.05)
    life.socket.create()
    await asyncio.sleep(0.1)
    life.socket.steer()
    await settle()
    assert stage.engine.steered == []
    stage.engine.finish(0)
    await asyncio.wait_for(life.task, 5)
    assert [event["error"]["code"] for event in life.socket.errors] == ["websocket_connection_limit_reached"] * 2
    assert life.socket.closed == 1001


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


async def test_what_waits_on_a_connection_has_a_size(stage: Stage) -> None:
    life = Life(stage, max_body_bytes=1000)
    for lane in ("a", "a", "b"):
        life.socket.create("x" * 800, stream_id=lane)
        await settle()
    (error,) = life.socket.errors
    assert (error["stream_id"], error["error"]["code"]) == ("b", "rate_limit_exceeded")
    assert "2000 bytes" in error["error"]["message"]
    stage.engine.finish(0)
    await settle()
    life.socket.create("x" * 800, stream_id="a")
    await settle()
    assert len(life.socket.errors) == 1
    await life.ends()
