"""One response after the other, on a fake engine."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec import UNSET

from firesteel.errors import ContextTooLong, EngineFailure, RequestError, ResponseNotFound
from firesteel.responses.memory import Recent
from firesteel.types import Failure, Rewind
from tests.responses.stage import CALL, TOOL, Recorder, Stage, check, settle

TEXT = [
    "created",
    "in_progress",
    "output_item.added",
    "content_part.added",
    "output_text.delta",
    "output_text.done",
    "content_part.done",
    "output_item.done",
    "completed",
]


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    yield made
    made.close()


async def test_the_events_of_a_text_come_in_their_order(stage: Stage) -> None:
    turn = await stage.answer(says="Hello")
    assert stage.out.kinds == TEXT
    check(stage.out.events)
    assert turn.response.output[0].content[0].text == "Hello"  # type: ignore[union-attr]
    assert turn.response.usage is not None
    assert turn.response.usage.input_tokens_details.cached_tokens == 2


async def test_a_call_closes_the_text_before_it(stage: Stage) -> None:
    turn = await stage.answer(says=f"I run it.\n{CALL}", tools=[TOOL])
    check(stage.out.events)
    text, call = turn.response.output
    assert text.phase == "commentary"  # type: ignore[union-attr]
    assert (call.name, call.arguments, call.status) == ("run", '{"x": 1}', "completed")  # type: ignore[union-attr]
    assert "function_call_arguments.delta" in stage.out.kinds


async def test_a_conversation_goes_on_from_what_was_said(stage: Stage) -> None:
    first = await stage.answer("one", says="two")
    await stage.answer("three", says="four", previous_response_id=first.response.id)
    known = await stage.responses.known(stage.out.events[-1]["response"]["id"], "", None)
    said = [(message.role, message.content) for message in known.transcript.messages]
    assert said == [("user", "one"), ("assistant", "two"), ("user", "three"), ("assistant", "four")]


async def test_instructions_are_not_carried_over(stage: Stage) -> None:
    first = await stage.answer("one", says="two", instructions="be brief")
    decode = stage.responses.pipeline.tokenizer.piece
    await stage.answer("three", previous_response_id=first.response.id)
    texts = [b"".join(map(decode, work.tokens)).decode() for work in stage.engine.works]
    assert "be brief" in texts[0]
    assert "be brief" not in texts[1]


async def test_without_storing_only_the_connection_goes_on(stage: Stage) -> None:
    first = await stage.answer("one", store=False)
    assert (await stage.turn("two", previous_response_id=first.response.id)) is not None
    with pytest.raises(RequestError) as refused:
        await stage.responses.known(first.response.id, "", None)
    assert refused.value.code == "previous_response_not_found"


async def test_nobody_goes_on_from_the_responses_of_another_key(stage: Stage) -> None:
    first = await stage.answer("one")
    with pytest.raises(RequestError):
        await stage.responses.known(first.response.id, "other", stage.connection)


async def test_a_warm_up_computes_the_prompt_and_writes_nothing(stage: Stage) -> None:
    turn, task = await stage.start("one", generate=False)
    assert stage.engine.works[0].max_tokens == 0
    stage.engine.finish(0, "length")
    await task
    assert stage.out.kinds == ["created", "in_progress", "completed"]
    await stage.answer("two", previous_response_id=turn.response.id)


async def test_a_warm_up_without_any_message_is_no_error(stage: Stage) -> None:
    """Codex sends one; a template that takes no empty conversation must not fail it."""

    def refuse(*_: object, **__: object) -> None:
        raise RequestError("`messages`: the model's chat template does not take them", param="messages")

    stage.responses.pipeline.run = refuse  # type: ignore[method-assign,assignment]
    turn = await stage.turn([], generate=False)
    await turn.run()
    assert stage.out.kinds == ["created", "in_progress", "completed"]


async def test_an_early_failure_is_raised_while_nothing_was_sent(stage: Stage) -> None:
    stage.out = Recorder(is_eager=False)
    _, task = await stage.start()
    stage.engine.fail(0)
    with pytest.raises(EngineFailure):
        await task
    assert stage.out.events == []
    assert stage.responses.active == {}


async def test_a_late_failure_is_an_event(stage: Stage) -> None:
    _, task = await stage.start()
    stage.engine.say("a")
    await settle()
    stage.engine.fail(0)
    await task
    check(stage.out.events)
    assert stage.out.events[-1]["response"]["error"]["code"] == "server_error"


async def test_text_that_is_taken_back_fails_the_response(stage: Stage) -> None:
    _, task = await stage.start()
    stage.engine.say("a")
    await settle()
    stage.engine.tell(0, lambda id: Rewind(id, 0, 0))
    await task
    assert "text_taken_back" in stage.out.events[-1]["response"]["error"]["message"]
    assert stage.engine.cancelled == [stage.engine.works[0].id]


async def test_a_prompt_that_is_too_long_is_refused_before_it_begins(stage: Stage) -> None:
    turn = await stage.turn("word " * 2000)
    with pytest.raises(ContextTooLong):
        await turn.run()
    assert stage.out.events == []


async def test_an_answer_that_was_cut_says_so(stage: Stage) -> None:
    _, task = await stage.start(max_output_tokens=3)
    stage.engine.say("abc")
    stage.engine.finish(0, "length")
    await task
    last = stage.out.events[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert last["response"]["output"][0]["status"] == "incomplete"


@pytest.mark.parametrize(("keep", "num_items"), [(True, 1), (False, 0)])
async def test_an_interrupt_keeps_or_drops_what_is_not_complete(stage: Stage, keep: bool, num_items: int) -> None:
    turn, task = await stage.start()
    stage.engine.say("half")
    await settle()
    turn.stop("interrupted", keep_partial=keep)
    assert stage.engine.cancelled == [stage.engine.works[0].id]
    stage.engine.finish(0, "cancelled")
    await task
    check(stage.out.events)
    last = stage.out.events[-1]["response"]
    assert last["incomplete_details"] == {"reason": "interrupted"}
    assert last["end_turn"] is False
    assert len(last["output"]) == num_items
    known = await stage.responses.known(last["id"], "", stage.connection)
    assert len(known.transcript.messages) == 1 + num_items


async def test_a_client_that_leaves_ends_the_sequence(stage: Stage) -> None:
    _, task = await stage.start()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stage.engine.cancelled == [stage.engine.works[0].id]
    assert stage.responses.active == {}


async def test_a_failure_of_the_engine_process_gives_steered_words_back(stage: Stage) -> None:
    turn, task = await stage.start()
    stage.engine.say("a")
    await settle()
    await stage.steer(turn, "no")
    for number in (0, 1):
        stage.engine.tell(number, lambda id: Failure(id, "engine_crashed", "gone"))
    await task
    check(stage.out.events)
    (back,) = stage.out.of("response.steer.failed")
    assert back["steer"]["input"] == "no"


@pytest.mark.parametrize("fields", [{}, {"tools": [TOOL]}, {"instructions": "be brief"}])
async def test_a_connection_goes_on_in_the_very_tokens_that_a_rendering_gives(stage: Stage, fields: Any) -> None:
    """What a connection knows is not rendered again; the slow twin is a request from somewhere else."""
    first = await stage.answer("one", says="two 🦊", **fields)
    for connection in (stage.connection, None):
        stage.connection, kept = connection or Recent(8), stage.connection
        await stage.answer("three", previous_response_id=first.response.id, **fields)
        stage.connection = kept
    _, fast, slow = stage.engine.works
    assert fast.tokens == slow.tokens


async def test_other_instructions_are_rendered_anew(stage: Stage) -> None:
    first = await stage.answer("one", says="two", instructions="a")
    await stage.answer("three", previous_response_id=first.response.id, instructions="b")
    text = "".join(map(stage.responses.pipeline.tokenizer.label, stage.engine.works[1].tokens))
    assert [word for word in ("b", "one", "two", "three") if word in text] == ["b", "one", "two", "three"]


async def test_a_reference_stands_for_an_item_of_a_stored_response(stage: Stage) -> None:
    first = await stage.answer(says="It is 4.")
    (said,) = first.response.output
    again, task = await stage.start(
        [{"role": "user", "content": "x"}, {"type": "item_reference", "id": said.id}, {"role": "user", "content": "y"}]
    )
    stage.engine.finish(1)
    await task
    assert again.response.usage is not None
    await stage.answer([{"role": "user", "content": "y"}], previous_response_id=first.response.id)
    assert stage.engine.works[1].tokens == stage.engine.works[2].tokens
    await stage.answer([{"id": said.id}])  # the type may be left out


@pytest.mark.parametrize("id", ["msg_1", f"msg_{32 * '0'}_0", 7])
async def test_a_reference_to_nothing_is_a_404_that_names_it(stage: Stage, id: object) -> None:
    with pytest.raises(ResponseNotFound) as refused:
        await stage.turn([{"role": "user", "content": "x"}, {"type": "item_reference", "id": id}])
    assert (refused.value.status, refused.value.param) == (404, "input[1].id")


async def test_a_conversation_that_is_too_long_loses_its_beginning_if_asked() -> None:
    stage = Stage(context_tokens=200)
    items = [{"role": "user", "content": f"{n} " + "word " * 10} for n in range(40)]
    with pytest.raises(ContextTooLong):
        await (await stage.turn(items)).run()
    turn = await stage.answer(items, instructions="Be brief.", truncation="auto")
    assert turn.response.truncation == "auto"
    assert turn.response.firesteel is not UNSET
    assert turn.response.firesteel.noted == ("truncation",)
    assert len(stage.engine.works[-1].tokens) <= 150
    short = await stage.answer("x", truncation="auto")
    assert short.response.firesteel is not UNSET
    assert short.response.firesteel.noted == ()
    stage.close()


async def test_a_response_that_is_stopped_while_it_is_rendered_is_not_written(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline, rendered = stage.responses.pipeline, asyncio.Event()
    render = pipeline._render

    async def render_slowly(*args: Any) -> Any:
        await rendered.wait()
        return await render(*args)

    monkeypatch.setattr(pipeline, "_render", render_slowly)
    turn = await stage.turn()
    await turn.enter()
    await turn.queue()
    task = asyncio.create_task(turn.run())
    await settle()
    turn.stop("cancelled")
    turn.stop("cancelled")
    rendered.set()
    await settle()
    assert stage.engine.cancelled == [stage.engine.works[0].id]
    stage.engine.finish(0, "cancelled")
    await task
    assert turn.response.status == "cancelled"


async def test_a_response_that_is_stopped_while_it_is_queued_is_not_written() -> None:
    stage = Stage(max_live=1, max_queue=10)
    try:
        turns = [await stage.turn() for _ in range(8)]
        tasks = []
        for turn in turns:
            await turn.queue()
            tasks.append(asyncio.create_task(turn.run()))
            await settle()
        num_running = len(stage.engine.works)
        assert num_running < len(turns)
        queued = turns[num_running]
        queued.stop("cancelled")
        stage.engine.finish(0)
        await settle()
        assert stage.engine.cancelled == [stage.engine.works[num_running].id]
        stage.engine.finish(num_running, "cancelled")
        await tasks[num_running]
        assert queued.response.status == "cancelled"
        for task in tasks:
            task.cancel()
        await settle()
    finally:
        stage.close()
