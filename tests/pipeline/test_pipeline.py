"""The life of one request, without a server and without a model."""

import asyncio
from typing import Any

import pytest

from firesteel.backend.scripted import ScriptedTokenizer
from firesteel.errors import ContextTooLong, NotReady, Overloaded, RequestError, UnknownModel
from firesteel.types import Delta, Failure
from tests.pipeline.fake_engine import CONTEXT_TOKENS, FakeEngine, chat, completion, make_pipeline


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


async def test_prompts_times_choices_are_sequences_with_their_own_seeds(engine: FakeEngine) -> None:
    body = completion(["a", "b"], n=2, seed=7, temperature=1, max_tokens=3, stop="x")
    async with make_pipeline(engine).call("completion", body, "r"):
        assert [work.sampling.seed for work in engine.works] == [7, 8, 7, 8]
        assert engine.works[0].tokens == engine.works[1].tokens != engine.works[2].tokens
        assert {work.max_tokens for work in engine.works} == {3}
        assert {work.stop for work in engine.works} == {("x",)}
        assert len({work.id for work in engine.works}) == 4


async def test_two_calls_with_one_id_are_told_apart(engine: FakeEngine) -> None:
    pipeline = make_pipeline(engine)
    async with pipeline.call("chat", chat(), "same") as first, pipeline.call("chat", chat(), "same") as second:
        engine.say("one", number=0)
        engine.say("two", number=1)
        assert await first.take(1) == [(0, Delta(engine.works[0].id, "one", 1))]
        assert await second.take(1) == [(0, Delta(engine.works[1].id, "two", 1))]


async def test_every_choice_gets_prediction_and_grammar(engine: FakeEngine) -> None:
    text = "def f(x):\n    return x\n"
    wanted: dict[str, Any] = {
        "prediction": {"type": "content", "content": text},
        "response_format": {"type": "json_object"},
    }
    async with make_pipeline(engine).call("chat", chat(n=2, **wanted), "r") as call:
        assert [ScriptedTokenizer().decode(work.prediction) for work in engine.works] == [text, text]
        assert {work.constraint for work in engine.works} == {call.request.constraint}
        assert call.request.constraint is not None
    plain = FakeEngine()
    async with make_pipeline(plain).call("chat", chat(), "r"):
        assert (plain.works[0].prediction, plain.works[0].constraint) == ([], None)


async def test_control_tokens_in_a_prediction_are_text(engine: FakeEngine) -> None:
    predicted = {"type": "content", "content": "<|end|>"}
    async with make_pipeline(engine).call("chat", chat(prediction=predicted), "r"):
        assert ScriptedTokenizer().decode(engine.works[0].prediction) == "<|end|>"


async def test_without_max_tokens_as_many_as_fit(engine: FakeEngine) -> None:
    async with make_pipeline(engine).call("chat", chat(), "r") as call:
        (work,) = engine.works
        assert work.max_tokens == CONTEXT_TOKENS - len(work.tokens)
        assert call.request.noted == ()


async def test_max_tokens_beyond_the_context_is_cut_and_noted(engine: FakeEngine) -> None:
    async with make_pipeline(engine).call("chat", chat(max_tokens=5000), "r") as call:
        (work,) = engine.works
        assert work.max_tokens == CONTEXT_TOKENS - len(work.tokens)
        assert call.request.noted == ("max_tokens",)
        stream = make_pipeline(engine).stream_of(call)
        engine.finish()
        ((_, event),) = await call.take(1)
        assert b'"noted":["max_tokens"]' in stream.event(0, event)


@pytest.mark.parametrize(("kind", "param"), [("chat", "messages"), ("completion", "prompt")])
async def test_a_prompt_that_leaves_no_room(engine: FakeEngine, kind: str, param: str) -> None:
    text = "one two three " * 100
    body = chat(text) if kind == "chat" else completion(text)
    pipeline = make_pipeline(engine)
    with pytest.raises(ContextTooLong) as caught:
        async with pipeline.call(kind, body, "r"):
            raise AssertionError("it was taken")
    assert caught.value.param == param
    assert (engine.works, pipeline.admission.num_in_flight, pipeline.calls) == ([], 0, set())


async def test_one_token_of_room_is_enough(engine: FakeEngine) -> None:
    async with make_pipeline(engine).call("completion", completion([20] * (CONTEXT_TOKENS - 1)), "r"):
        assert engine.works[0].max_tokens == 1
    with pytest.raises(ContextTooLong):
        async with make_pipeline(engine).call("completion", completion([20] * CONTEXT_TOKENS), "r"):
            raise AssertionError("it was taken")


async def test_a_hole_is_clipped_instead_of_refused(engine: FakeEngine) -> None:
    pipeline = make_pipeline(engine)
    body = completion("before " * 500, suffix=" after" * 500)
    async with pipeline.call("completion", body, "r"):
        assert engine.works[0].max_tokens >= CONTEXT_TOKENS // 2 - 1
    body = completion("before " * 500, suffix=" after" * 500, max_tokens=10)
    async with pipeline.call("completion", body, "r"):
        assert engine.works[1].max_tokens == 10


async def test_unknown_models(engine: FakeEngine) -> None:
    body = completion().replace(b"fake", b"gpt-99")
    with pytest.raises(UnknownModel, match="fake"):
        async with make_pipeline(engine).call("completion", body, "r"):
            raise AssertionError("it was taken")
    async with make_pipeline(engine, accept_any_model=True).call("completion", body, "r"):
        assert engine.works


async def test_a_logit_bias_of_a_token_that_is_not_there(engine: FakeEngine) -> None:
    with pytest.raises(RequestError, match="99999"):
        async with make_pipeline(engine).call("chat", chat(logit_bias={"99999": 1}), "r"):
            raise AssertionError("it was taken")


async def test_leaving_the_call_cancels_what_is_live(engine: FakeEngine) -> None:
    pipeline = make_pipeline(engine)
    async with pipeline.call("completion", completion("a", n=3), "r") as call:
        assert pipeline.admission.num_in_flight == 3
        engine.finish(1)
        await call.take(1)
    assert engine.cancelled == [engine.works[0].id, engine.works[2].id]
    assert (pipeline.admission.num_in_flight, pipeline.calls) == (0, set())


async def test_a_call_that_is_complete_cancels_nothing(engine: FakeEngine) -> None:
    async with make_pipeline(engine).call("chat", chat(), "r") as call:
        engine.say("text")
        engine.finish()
        assert not call.is_complete
        assert len(await call.take(1)) == 2
        assert call.is_complete
    assert engine.cancelled == []


async def test_one_failing_choice_ends_the_call(engine: FakeEngine) -> None:
    async with make_pipeline(engine).call("completion", completion("a", n=2), "r") as call:
        engine.tell(0, lambda id: Failure(id, "engine_failure", "broken"))
        await call.take(1)
        assert call.is_complete
        assert engine.cancelled == [engine.works[1].id]


async def test_fail_all_tells_every_call(engine: FakeEngine) -> None:
    pipeline = make_pipeline(engine)
    async with pipeline.call("chat", chat(), "a") as first, pipeline.call("chat", chat(), "b") as second:
        pipeline.fail_all(NotReady("closing", retry_after=1))
        for call in (first, second):
            ((_, event),) = await call.take(1)
            assert isinstance(event, Failure)
            assert event.code == "server_not_ready"
            assert call.is_complete
    assert engine.cancelled == [work.id for work in engine.works]


async def test_a_full_queue_refuses_before_reading_the_request(engine: FakeEngine) -> None:
    pipeline = make_pipeline(engine, max_live=1)
    async with pipeline.call("chat", chat(), "a"):
        with pytest.raises(Overloaded):
            async with pipeline.call("chat", b"not even JSON", "b"):
                raise AssertionError("it was taken")
    assert pipeline.admission.num_refused == 1


async def test_a_large_body_is_rendered_beside_the_event_loop(engine: FakeEngine) -> None:
    pipeline = make_pipeline(engine, context_tokens=100_000)

    async def run() -> None:
        async with pipeline.call("chat", chat("word " * 20_000), "a"):
            pass

    running = asyncio.create_task(run())
    turns = 0
    while not running.done():
        await asyncio.sleep(0)
        turns += 1
    await running
    assert turns > 10
    assert len(engine.works[0].tokens) > 20_000


async def test_a_call_that_fails_inside_is_ended_too(engine: FakeEngine) -> None:
    pipeline = make_pipeline(engine)
    with pytest.raises(ZeroDivisionError):
        async with pipeline.call("chat", chat(), "r"):
            raise ZeroDivisionError
    assert engine.cancelled == [engine.works[0].id]
    assert (pipeline.admission.num_in_flight, pipeline.calls) == (0, set())
