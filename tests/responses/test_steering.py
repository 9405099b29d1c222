"""Steering, on a fake engine: what is accepted is committed, left pending or given back, and never lost."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from firesteel.errors import RequestError
from firesteel.pipeline import Pipeline
from firesteel.responses.steering import MAX_PENDING_STEERS, SteerRefused, new_steer
from firesteel.server.answer import ClientGone
from firesteel.stream.response_events import WireEvent
from firesteel.types import Failure
from tests.responses.stage import CALL, TOOL, Stage, check, settle


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    yield made
    made.close()


async def test_the_successor_follows_the_boundary(stage: Stage) -> None:
    turn, task = await stage.start("write")
    stage.engine.say("one\n")
    await settle()
    await stage.steer(turn, "shorter")
    assert stage.engine.steered == [stage.engine.works[0].id]
    stage.engine.finish(0, "steered")
    stage.engine.say("two", 1)
    stage.engine.finish(1)
    await task
    check(stage.out.events)
    first, second = stage.out.of("response.created")
    assert second["response"]["previous_response_id"] == first["response"]["id"]
    assert stage.out.of("response.incomplete")[0]["response"]["incomplete_details"] == {"reason": "steered"}
    kinds = stage.out.kinds
    assert kinds.index("steer.accepted") < kinds.index("incomplete") < len(kinds) - 1 - kinds[::-1].index("created")
    said = (await stage.responses.known(second["response"]["id"], "", None)).transcript.messages
    assert [message.content for message in said] == ["write", "one\n", "shorter", "two"]


async def test_the_new_words_alone_are_sent_to_the_engine(stage: Stage) -> None:
    turn, task = await stage.start("write")
    stage.engine.say("one\n")
    await settle()
    await stage.steer(turn, "shorter")
    tail = "".join(map(stage.responses.pipeline.tokenizer.label, stage.engine.works[1].tokens))
    assert "shorter" in tail
    assert "write" not in tail
    stage.engine.finish(0, "steered")
    stage.engine.finish(1)
    await task


async def test_words_that_come_too_late_for_the_engine_begin_a_request_of_their_own(stage: Stage) -> None:
    turn, task = await stage.start("write")
    stage.engine.say("done")
    await settle()
    await stage.steer(turn, "more")
    stage.engine.finish(0, "stop")
    stage.engine.tell(1, lambda id: Failure(id, "not_running", "over"))
    while len(stage.engine.works) < 3:
        await settle()
    text = "".join(map(stage.responses.pipeline.tokenizer.label, stage.engine.works[2].tokens))
    assert [word for word in ("write", "done", "more") if word in text] == ["write", "done", "more"]
    stage.engine.say("again", 2)
    stage.engine.finish(2)
    await task
    check(stage.out.events)
    assert stage.out.kinds.count("completed") == 2


async def test_an_answer_that_ends_by_itself_is_followed_as_well(stage: Stage) -> None:
    turn, task = await stage.start()
    stage.engine.say("done")
    await settle()
    await stage.steer(turn, "more")
    stage.engine.finish(0, "stop")
    stage.engine.say("again", 1)
    stage.engine.finish(1)
    await task
    check(stage.out.events)
    assert stage.out.kinds.count("completed") == 2


async def test_a_call_is_completed_first_and_the_words_wait_for_its_output(stage: Stage) -> None:
    turn, task = await stage.start(tools=[TOOL])
    stage.engine.say(CALL[:40])
    await settle()
    await stage.steer(turn, "wait")
    assert stage.engine.steered == []
    stage.engine.say(CALL[40:])
    stage.engine.finish(0)
    await task
    check(stage.out.events)
    (pending,) = stage.out.of("response.steer.pending")
    (stub,) = pending["required_input"]
    assert (stub["type"], stub["name"]) == ("function_call_output", "run")
    output = [{**stub, "output": "42"}]
    await stage.answer(output, previous_response_id=turn.response.id, tools=[TOOL])
    last = await stage.responses.known(stage.out.events[-1]["response"]["id"], "", None)
    assert [message.role for message in last.transcript.messages] == ["user", "assistant", "user", "tool", "assistant"]


async def test_a_successor_that_waits_is_dropped_when_a_call_ends_the_answer(stage: Stage) -> None:
    turn, task = await stage.start(tools=[TOOL])
    stage.engine.say("Let me see. ")
    await settle()
    await stage.steer(turn, "wait")
    stage.engine.say(CALL)
    stage.engine.finish(0)
    await settle()
    assert stage.engine.cancelled == [stage.engine.works[1].id]
    stage.engine.finish(1, "cancelled")
    await task
    check(stage.out.events)
    assert stage.out.kinds[-1] == "steer.pending"


async def test_words_that_do_not_fit_any_more_are_given_back(stage: Stage) -> None:
    turn, task = await stage.start()
    stage.engine.say("a")
    await settle()
    await stage.steer(turn, "much more")
    stage.engine.tell(1, lambda id: Failure(id, "context_length_exceeded", "too long"))
    stage.engine.finish(0, "steered")
    await task
    check(stage.out.events)
    (back,) = stage.out.of("response.steer.failed")
    assert (back["error"]["code"], back["steer"]["input"]) == ("successor_creation_failed", "much more")


async def test_a_template_without_a_tail_ends_the_answer_and_renders_all(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_tail(*_: object) -> str:
        raise RequestError("no tail", param="messages")

    monkeypatch.setattr(Pipeline, "steer", no_tail)
    turn, task = await stage.start()
    stage.engine.say("half")
    await settle()
    await stage.steer(turn, "more")
    assert stage.engine.cancelled
    stage.engine.finish(0, "cancelled")
    while len(stage.engine.works) < 2:
        await settle()
    stage.engine.finish(1)
    await task
    check(stage.out.events)
    assert stage.out.of("response.incomplete")[0]["response"]["incomplete_details"] == {"reason": "steered"}


async def test_a_stop_between_a_response_and_what_succeeds_it(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_tail(*_: object) -> str:
        raise RequestError("no tail", param="messages")

    async def send(events: list[WireEvent]) -> None:
        await sent(events)
        if events[-1][0] == "response.incomplete":
            turn.stop("cancelled")

    sent = stage.out.send
    monkeypatch.setattr(stage.out, "send", send)
    monkeypatch.setattr(Pipeline, "steer", no_tail)
    turn, task = await stage.start()
    await stage.steer(turn, "more")
    stage.engine.finish(0, "cancelled")
    await settle()
    assert len(stage.engine.works) == 1
    await task
    assert turn.response.status == "cancelled"


async def test_who_steers_does_not_wait_for_the_reader(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def send(events: list[WireEvent]) -> None:
        raise ClientGone

    turn, task = await stage.start()
    monkeypatch.setattr(stage.out, "send", send)
    kind, _ = await turn.steer(new_steer(turn.response.id, "stop"))
    assert kind == "response.steer.accepted"
    stage.engine.say("a")
    with pytest.raises(ClientGone):
        await task


async def test_an_interrupt_gives_back_what_was_steered_in(stage: Stage) -> None:
    turn, task = await stage.start()
    stage.engine.say("a")
    await settle()
    await stage.steer(turn, "b")
    turn.stop("interrupted")
    stage.engine.finish(0, "cancelled")
    stage.engine.tell(1, lambda id: Failure(id, "not_running", "over"))
    await task
    check(stage.out.events)
    assert stage.out.of("response.steer.failed")[0]["error"]["code"] == "response_not_active"


async def test_a_second_steer_breaks_into_the_successor(stage: Stage) -> None:
    turn, task = await stage.start()
    stage.engine.say("a")
    await settle()
    await stage.steer(turn, "b")
    await stage.steer(turn, "c")
    stage.engine.finish(0, "steered")
    await settle()
    assert len(stage.engine.steered) == 2
    stage.engine.finish(1, "steered")
    stage.engine.finish(2)
    await task
    check(stage.out.events)
    assert len(stage.out.of("response.created")) == 3


async def test_there_is_a_limit(stage: Stage) -> None:
    turn, task = await stage.start()
    for _ in range(MAX_PENDING_STEERS):
        await stage.steer(turn)
    with pytest.raises(SteerRefused) as refused:
        await stage.steer(turn)
    assert refused.value.code == "too_many_pending_steers"
    task.cancel()
    await settle()


async def test_what_cannot_be_steered_says_why(stage: Stage) -> None:
    done = await stage.answer()
    for id, code in ((done.response.id, "response_already_completed"), ("resp_x", "response_not_found")):
        with pytest.raises(SteerRefused) as refused:
            await stage.responses.steer(id, "x", "", stage.connection)
        assert refused.value.code == code
    turn, task = await stage.start(generate=False)
    with pytest.raises(SteerRefused) as refused:
        await stage.steer(turn)
    assert refused.value.code == "steering_not_supported"
    stage.engine.finish(1, "length")
    await task


@pytest.mark.parametrize(
    "given",
    [
        "  ",
        [{"role": "system", "content": "x"}],
        [{"type": "function_call_output", "call_id": "c", "output": "x"}],
        [{"role": "user", "content": "x", "phase": "commentary"}],
        [{"role": "user", "content": [{"type": "input_text"}]}],
    ],
)
def test_only_the_words_of_a_user_are_taken(given: Any) -> None:
    with pytest.raises(SteerRefused) as refused:
        new_steer("resp_1", given)
    assert refused.value.code == "invalid_input"
