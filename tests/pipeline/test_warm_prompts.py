"""What a call leaves behind for the next one, and whose it is."""

import json
from typing import Any

import pytest

from firesteel.backend.scripted import ScriptedTokenizer
from firesteel.errors import EngineFailure
from firesteel.types import Rewind
from tests.pipeline.fake_engine import FakeEngine, chat, completion, make_pipeline


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


def follow_up(answer: str, **fields: Any) -> bytes:
    messages = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": answer},
        {"role": "user", "content": "y"},
    ]
    return json.dumps({"model": "fake", "messages": messages, **fields}).encode()


LETTERS = [12 + byte for byte in b"return"]  # the scripted model's tokens of single bytes


async def test_a_follow_up_begins_with_the_tokens_that_the_model_chose(engine: FakeEngine) -> None:
    pipeline = make_pipeline(engine)
    async with pipeline.call("chat", chat(), "a") as call:
        engine.finish(tokens=LETTERS)
        await call.take(1)
    async with pipeline.call("chat", follow_up("return"), "b"):
        first, second = engine.works
        num_known = len(first.tokens) + len(LETTERS)
        assert second.tokens[:num_known] == first.tokens + LETTERS
    async with make_pipeline(engine).call("chat", follow_up("return"), "c"):
        assert len(engine.works[2].tokens) < len(second.tokens)  # plain encoding has one token for it


async def test_what_was_computed_for_a_client_that_left_is_remembered(engine: FakeEngine) -> None:
    pipeline = make_pipeline(engine)
    async with pipeline.call("chat", chat(), "a"):
        pass
    engine.finish(reason="cancelled", tokens=LETTERS[:3])
    async with pipeline.call("chat", follow_up("ret"), "b"):
        first, second = engine.works
        assert second.tokens[: len(first.tokens) + 3] == first.tokens + LETTERS[:3]


async def test_each_choice_is_remembered(engine: FakeEngine) -> None:
    pipeline = make_pipeline(engine)
    answers = [LETTERS, LETTERS[:4]]
    async with pipeline.call("chat", chat(n=2), "a") as call:
        for number, tokens in enumerate(answers):
            engine.finish(number, tokens=tokens)
        await call.take(1)
    prompt = engine.works[0].tokens
    for text, tokens in zip(("return", "retu"), answers, strict=True):
        async with pipeline.call("chat", follow_up(text), "b"):
            known = prompt + tokens
            assert engine.works[-1].tokens[: len(known)] == known


async def test_scopes_share_no_tokens(engine: FakeEngine) -> None:
    pipeline = make_pipeline(engine)
    async with pipeline.call("chat", chat(), "a", scope="one") as call:
        engine.finish(tokens=LETTERS)
        await call.take(1)
    lengths = {}
    for scope in ("one", "two"):
        async with pipeline.call("chat", follow_up("return"), "b", scope=scope):
            assert engine.works[-1].scope == scope
            lengths[scope] = len(engine.works[-1].tokens)
    assert lengths["two"] == lengths["one"] - len(LETTERS) + 1


@pytest.mark.parametrize("headers", [{}, {"session-id": "s"}])
async def test_a_session_finds_its_own_tokens(engine: FakeEngine, headers: dict[str, str]) -> None:
    pipeline = make_pipeline(engine)
    fields = {} if headers else {"prompt_cache_key": "s"}
    async with pipeline.call("chat", chat(**fields), "a", headers=headers) as call:
        engine.finish(tokens=LETTERS)
        await call.take(1)
    async with pipeline.call("chat", chat(), "b") as call:
        engine.finish(1, tokens=ScriptedTokenizer().encode("return", special=False))
        await call.take(1)
    async with pipeline.call("chat", follow_up("return", **fields), "c", headers=headers):
        known = engine.works[0].tokens + LETTERS
        assert engine.works[2].tokens[: len(known)] == known


@pytest.mark.parametrize("kind", ["chat", "completion"])
async def test_a_prompt_alone(engine: FakeEngine, kind: str) -> None:
    body = chat(max_tokens=0) if kind == "chat" else completion(max_tokens=0)
    async with make_pipeline(engine).call(kind, body, "r") as call:
        assert engine.works[0].max_tokens == 0
        assert call.request.noted == ()


async def test_a_hole_is_clipped_alike_with_and_without_an_answer(engine: FakeEngine) -> None:
    pipeline = make_pipeline(engine)
    for fields in ({}, {"max_tokens": 0}):
        async with pipeline.call("completion", completion("before " * 500, suffix=" after", **fields), "r"):
            pass
    assert engine.works[0].tokens == engine.works[1].tokens


async def test_a_rewind_ends_the_call(engine: FakeEngine) -> None:
    pipeline = make_pipeline(engine)
    async with pipeline.call("chat", chat(), "r") as call:
        engine.say("abc")
        engine.tell(0, lambda id: Rewind(id, 1, 1))
        said, taken_back = await call.take(1)
        assert call.is_complete
        collector = pipeline.collector_of(call)
        collector.event(*said)
        with pytest.raises(EngineFailure):
            collector.event(*taken_back)
    assert engine.cancelled == [engine.works[0].id]
