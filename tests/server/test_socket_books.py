"""How requests of a connection are told of, whatever happens to them: to the client, the log and the ledger."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from firesteel.errors import Unauthorized
from firesteel.service.keyring import Caller
from firesteel.service.limiter import Limits
from firesteel.types import Failure
from tests.responses.stage import Stage, settle
from tests.server.life import Life


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    yield made
    made.close()


def told(life: Life) -> tuple[list[int], list[object]]:
    """Return the statuses in the ledger and in the log."""
    return [row.status for row in life.rows], life.statuses


async def answering(life: Life, **fields: Any) -> None:
    life.socket.create(**fields)
    await settle()
    life.stage.engine.say("a", len(life.stage.engine.works) - 1)
    await settle()


async def test_a_client_that_leaves_in_mid_answer_is_a_499(stage: Stage) -> None:
    life = Life(stage)
    await answering(life)
    await life.ends()
    stage.engine.finish(0, "cancelled")
    assert told(life) == ([499], [499])


async def test_a_client_that_takes_nothing_is_a_499_too(stage: Stage) -> None:
    life = Life(stage, idle_write_seconds=0.05)
    await answering(life)
    life.socket.reads.clear()
    stage.engine.say("b")
    await asyncio.wait_for(life.task, 5)
    stage.engine.finish(0, "cancelled")
    assert told(life) == ([499], [499])


async def test_what_nobody_expected_is_said_and_the_lane_goes_on(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        raise ValueError("no such table")

    monkeypatch.setattr(stage.responses.store, "chain", broken)
    monkeypatch.setattr(stage.responses.store, "get", broken)
    life = Life(stage)
    life.socket.create(previous_response_id="resp_1")
    life.socket.create()
    await settle()
    stage.engine.finish(0)
    await settle()
    (error,) = life.socket.errors
    assert error["status"] == 500
    assert "no such table" in caplog.text
    assert life.socket.kinds[-1] == "completed"
    life.socket.steer(id="resp_1")
    await settle()
    assert [error["status"] for error in life.socket.errors] == [500, 500]
    await life.ends()
    assert told(life) == ([500, 200], [500, 200])


async def test_a_response_that_fails_on_its_way_has_the_status_of_its_error(stage: Stage) -> None:
    life = Life(stage)
    await answering(life)
    stage.engine.fail(0, "context_length_exceeded")
    await settle()
    assert life.socket.kinds[-1] == "failed"
    await life.ends()
    assert told(life) == ([400], [400])


async def test_words_that_come_too_late_for_the_engine_are_no_failure_and_counted_once(stage: Stage) -> None:
    life = Life(stage, Limits(requests=2))
    await answering(life)
    life.socket.steer()
    await settle()
    stage.engine.finish(0)
    stage.engine.tell(1, lambda id: Failure(id, "not_running", "over"))
    while len(stage.engine.works) < 3:
        await settle()
    stage.engine.finish(2)
    await settle()
    assert life.socket.kinds.count("completed") == 2
    await life.ends()
    assert told(life) == ([200], [200])


async def test_a_key_that_has_ended_steers_and_interrupts_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(_: object) -> Caller:
        raise Unauthorized("this key has expired", code="expired_api_key")

    life = Life(stage)
    await answering(life)
    monkeypatch.setattr(life.keyring, "identify", ended)
    life.socket.steer()
    life.socket.interrupt()
    await settle()
    assert [error["error"]["code"] for error in life.socket.errors] == ["expired_api_key"] * 2
    assert (stage.engine.steered, stage.engine.cancelled) == ([], [])
    await life.ends()


def refusals(life: Life) -> list[str]:
    return [event["error"]["code"] for event in life.socket.sent if event["type"] == "response.steer.failed"]


async def test_steering_counts_as_requests_and_what_is_refused_harms_nothing(stage: Stage) -> None:
    life = Life(stage, Limits(requests=2))
    await answering(life)
    for _ in range(2):
        life.socket.steer()
    await settle()
    assert refusals(life) == ["rate_limit_exceeded"]
    stage.engine.finish(0, "steered")
    stage.engine.finish(1)
    await settle()
    assert life.socket.kinds[-1] == "completed"
    await life.ends()
    assert told(life) == ([200], [200])


async def test_steering_sets_tokens_aside_until_its_predecessor_has_ended(stage: Stage) -> None:
    life = Life(stage, Limits(tokens=1000))
    await answering(life, max_output_tokens=400)
    for _ in range(2):
        life.socket.steer()
    await settle()
    assert refusals(life) == ["rate_limit_exceeded"]
    stage.engine.finish(0, "steered")
    await settle()
    life.socket.steer()
    await settle()
    assert refusals(life) == ["rate_limit_exceeded"]
    assert len(stage.engine.steered) == 2
    await life.ends()
