"""`max_tokens: 0` computes the prompt and no more."""

import uuid
from typing import Any

import pytest

from tests.server.live import Live, chunks_of, is_done, text_of, user

LONG = "Please write a function that adds two numbers. " * 80
PROMPTS = [("/v1/chat/completions", "messages"), ("/v1/completions", "prompt")]
both = pytest.mark.parametrize(("path", "field"), PROMPTS, ids=["chat", "completions"])


def body_of(field: str, text: str, **fields: Any) -> dict[str, Any]:
    return {"model": "scripted", field: user(text) if field == "messages" else text, **fields}


@both
def test_an_ordinary_empty_answer(server: Live, path: str, field: str) -> None:
    text = f"{uuid.uuid4()} {LONG}"
    answer = server.http.post(path, json=body_of(field, text, max_tokens=0)).json()
    (choice,) = answer["choices"]
    assert (choice["message"]["content"] if field == "messages" else choice["text"]) == ""
    assert choice["finish_reason"] == "length"
    usage = answer["usage"]
    assert usage["completion_tokens"] == 0
    assert usage["prompt_tokens"] == usage["total_tokens"] > 500
    assert answer["firesteel"]["noted"] == []


@both
def test_what_follows_finds_it_warm(server: Live, path: str, field: str) -> None:
    text = f"{uuid.uuid4()} {LONG}"
    server.http.post(path, json=body_of(field, text, max_tokens=0))
    usage = server.http.post(path, json=body_of(field, text, max_tokens=4)).json()["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] >= 0.99 * usage["prompt_tokens"] - 1


@both
def test_a_stream_of_nothing(server: Live, path: str, field: str) -> None:
    options = {"stream": True, "stream_options": {"include_usage": True}, "max_tokens": 0}
    stream = server.http.post(path, json=body_of(field, f"{uuid.uuid4()} {LONG}", **options)).content
    assert is_done(stream)
    assert text_of(stream) == ""
    *_, last, usage = chunks_of(stream)
    assert last["choices"][0]["finish_reason"] == "length"
    assert usage["usage"]["completion_tokens"] == 0


def test_several_choices_and_the_other_name_of_the_field(server: Live) -> None:
    body = body_of("messages", "hello", max_completion_tokens=0, n=3)
    answer = server.http.post("/v1/chat/completions", json=body).json()
    assert [choice["message"]["content"] for choice in answer["choices"]] == ["", "", ""]


def test_cached_tokens_are_what_was_not_computed_again(server: Live) -> None:
    """Two prompts with a common beginning: the engine's own counters say the same as the answers."""
    names = ("num_prompt_tokens", "num_cached_tokens")
    before = [server.engine(name) for name in names]
    common, cached, prompts = f"{uuid.uuid4()} {LONG}", 0, 0
    for end in ("one", "two", "one"):
        usage = server.http.post("/v1/completions", json=body_of("prompt", common + end, max_tokens=0)).json()["usage"]
        cached += usage["prompt_tokens_details"]["cached_tokens"]
        prompts += usage["prompt_tokens"]
    assert cached > 0
    after = [server.engine(name) for name in names]
    assert [now - then for now, then in zip(after, before, strict=True)] == [prompts, cached]
