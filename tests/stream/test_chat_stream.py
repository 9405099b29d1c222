import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from firesteel.errors import ContextTooLong, EngineFailure, Overloaded
from firesteel.stream.openai import collector_of
from firesteel.stream.openai_chat import ChatStream
from firesteel.types import Failure, Progress, Request
from firesteel.wire.openai_chat import ChatDelta
from tests.stream.stream_cases import (
    CALL,
    CREATED,
    TOKENIZER,
    TOOLS,
    Run,
    body_of,
    chat_request,
    chunks_of,
    delta,
    finish,
    runs,
    stream_bytes,
)


def put_together(chunks: list[dict[str, Any]], num_logprobs: int | None) -> dict[str, Any]:
    """Return the response that the chunks make, as a careful client would put it together."""
    choices: dict[int, dict[str, Any]] = {}
    body: dict[str, Any] = {**chunks[0], "object": "chat.completion", "choices": []}
    for chunk in chunks:
        assert [chunk[key] for key in ("id", "created", "model")] == ["chatcmpl-r", CREATED, "m"]
        body |= {key: chunk[key] for key in ("usage", "firesteel") if chunk.get(key) is not None}
        for entry in chunk["choices"]:
            choice = choices.setdefault(entry["index"], {"content": "", "calls": [], "logprobs": []})
            _add(choice, entry)
    body["choices"] = [_choice(index, choices[index], num_logprobs) for index in sorted(choices)]
    return body


def _add(choice: dict[str, Any], entry: dict[str, Any]) -> None:
    assert "finish_reason" not in choice, "nothing follows the finish reason"
    if entry["finish_reason"] is not None:
        choice["finish_reason"] = entry["finish_reason"]
    if entry["logprobs"] is not None:
        choice["logprobs"] += entry["logprobs"]["content"]
    added = entry["delta"]
    choice["content"] += added.get("content", "")
    for call in added.get("tool_calls", []):
        if call["index"] == len(choice["calls"]):
            choice["calls"].append({"id": call["id"], "type": "function", "function": call["function"]})
        else:
            choice["calls"][call["index"]]["function"]["arguments"] += call["function"]["arguments"]


def _choice(index: int, choice: dict[str, Any], num_logprobs: int | None) -> dict[str, Any]:
    calls = choice["calls"]
    message = {"role": "assistant", "content": choice["content"], "refusal": None, "annotations": []}
    if calls:
        message |= {"content": choice["content"] or None, "tool_calls": calls}
    logprobs = None if num_logprobs is None else {"content": choice["logprobs"], "refusal": None}
    return {
        "index": index,
        "message": message,
        "logprobs": logprobs,
        "finish_reason": choice["finish_reason"],
    }


@given(st.data(), st.integers(1, 3), st.booleans(), st.sampled_from([None, 0, 2]))
@settings(deadline=None)
def test_chunks_put_together_are_the_whole_response(
    data: st.DataObject, n: int, with_tools: bool, num_logprobs: int | None
) -> None:
    request = chat_request(n=n, tools=TOOLS if with_tools else (), num_logprobs=num_logprobs, include_usage=True)
    run = data.draw(runs(n, logprobs=num_logprobs is not None))
    chunks = chunks_of(stream_bytes(request, run))
    assert put_together(chunks, num_logprobs) == body_of(request, run)
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk, strict=True)
    ChatCompletion.model_validate(body_of(request, run), strict=True)


class SlowChatStream(ChatStream):
    """Encodes every chunk whole."""

    def _content(self, choice: int, text: str) -> bytes:
        return self._chunk(choice, ChatDelta(content=text))


@given(st.text(st.characters(exclude_categories=["Cs"])), st.booleans())
def test_hot_path_says_the_same_as_the_slow_one(text: str, include_usage: bool) -> None:
    request = chat_request(n=2, include_usage=include_usage)
    fast, slow = (
        kind(request, created=CREATED, model='a "\x00text\x00" model', tokenizer=TOKENIZER)
        for kind in (ChatStream, SlowChatStream)
    )
    for choice in range(2):
        assert fast.event(choice, delta(text)) == slow.event(choice, delta(text))


def test_order_of_a_stream_without_usage() -> None:
    chunks = chunks_of(stream_bytes(chat_request(), [(0, delta("a")), (0, delta("b")), (0, finish())]))
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": ""},
        {"content": "a"},
        {"content": "b"},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, None, "stop"]
    assert ["usage" in chunk for chunk in chunks] == [False] * 4
    assert ["firesteel" in chunk for chunk in chunks] == [False, False, False, True]


def test_usage_chunk_has_no_choices_and_the_others_no_usage() -> None:
    run: Run = [(0, delta("a")), (1, finish(num_cached=5)), (0, finish("length"))]
    *others, last = chunks_of(stream_bytes(chat_request(n=2, include_usage=True), run))
    assert all(chunk["usage"] is None and "firesteel" not in chunk for chunk in others)
    assert last["choices"] == []
    assert last["usage"] == {
        "prompt_tokens": 5,
        "completion_tokens": 4,
        "total_tokens": 9,
        "prompt_tokens_details": {"cached_tokens": 3, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
    assert last["firesteel"] == {
        "noted": ["user"],
        "timings": {"queue_seconds": 0.25, "prefill_seconds": 0.5, "decode_seconds": 0.25},
    }


def test_tool_call_chunks() -> None:
    chunks = chunks_of(stream_bytes(chat_request(tools=TOOLS), [(0, delta(f"ok\n{CALL}")), (0, finish())]))
    assert [chunk["choices"][0]["delta"] for chunk in chunks[1:]] == [
        {"content": "ok"},
        {
            "tool_calls": [
                {
                    "index": 0,
                    "id": "call_r_0_0",
                    "type": "function",
                    "function": {"name": "f", "arguments": ""},
                }
            ]
        },
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"x": 1}'}}]},
        {},
    ]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_calls_alone_have_null_content_and_a_cut_answer_says_length() -> None:
    body = body_of(chat_request(tools=TOOLS), [(0, delta(CALL)), (0, finish("length"))])
    assert body["choices"][0]["message"]["content"] is None
    assert body["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("request_", [chat_request(), chat_request(tools=TOOLS, tool_choice="none")])
def test_without_tools_the_syntax_is_text(request_: Request) -> None:
    assert body_of(request_, [(0, delta(CALL)), (0, finish())])["choices"][0]["message"]["content"] == CALL


def test_arguments_are_streamed_in_pieces() -> None:
    run: Run = [(0, delta(CALL[:40])), (0, delta(CALL[40:46])), (0, delta(CALL[46:])), (0, finish())]
    chunks = chunks_of(stream_bytes(chat_request(tools=TOOLS), run))
    calls = [chunk["choices"][0]["delta"].get("tool_calls", [{}])[0] for chunk in chunks]
    pieces = [call["function"]["arguments"] for call in calls if call]
    assert len(pieces) > 3
    assert "".join(pieces) == '{"x": 1}'


def test_a_malformed_call_is_reported_and_is_no_content() -> None:
    broken = '{"name": 1}'
    request = chat_request(tools=TOOLS)
    run: Run = [(0, delta(f"a<tool_call>{broken}</tool_call>")), (0, finish())]
    body = body_of(request, run)
    assert body["choices"][0]["message"]["content"] == "a"
    assert body["choices"][0]["finish_reason"] == "stop"
    last = chunks_of(stream_bytes(request, run))[-1]
    assert last["firesteel"]["malformed_calls"] == body["firesteel"]["malformed_calls"] == [broken]


def test_an_answer_that_the_server_cut_says_so() -> None:
    body = body_of(chat_request(), [(0, finish("cancelled"))])
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["firesteel"]["cancelled"] is True


def test_logprobs_come_with_their_delta_even_when_its_text_is_held() -> None:
    request = chat_request(tools=TOOLS, num_logprobs=1)
    _, held, *_ = chunks_of(stream_bytes(request, [(0, delta("<", logprobs=True)), (0, finish())]))
    (choice,) = held["choices"]
    assert choice["delta"] == {}
    assert [entry["token"] for entry in choice["logprobs"]["content"]] == ["<"]


def test_progress_is_a_comment() -> None:
    stream = ChatStream(chat_request(), created=CREATED, model="m", tokenizer=TOKENIZER)
    assert stream.event(0, Progress("s", 512, 4096)) == b": prefill 512/4096\n\n"
    assert stream.event(0, delta("")) == b""


def test_failure_ends_the_stream() -> None:
    stream = ChatStream(chat_request(n=2), created=CREATED, model="m", tokenizer=TOKENIZER)
    sent = stream.event(1, Failure("s", "engine_failure", "it died"))
    assert json.loads(sent.removeprefix(b"data: ")) == {
        "error": {"message": "it died", "type": "server_error", "param": None, "code": "engine_failure"}
    }
    assert stream.event(0, delta("a")) == b""
    assert stream.event(0, finish()) == b""
    assert stream.end() == b""


def test_a_refusal_in_mid_stream() -> None:
    stream = ChatStream(chat_request(), created=CREATED, model="m", tokenizer=TOKENIZER)
    sent = stream.fail(Overloaded("later", retry_after=1.0))
    assert json.loads(sent.removeprefix(b"data: "))["error"]["code"] == "server_is_overloaded"
    assert stream.end() == b""


@pytest.mark.parametrize(
    ("code", "error"), [("engine_failure", EngineFailure), ("context_length_exceeded", ContextTooLong)]
)
def test_failure_of_a_response_in_one_body_is_raised(code: str, error: type[Exception]) -> None:
    collector = collector_of(chat_request(), created=CREATED, model="m", tokenizer=TOKENIZER)
    collector.event(0, Progress("s", 0, 1))
    with pytest.raises(error, match="why"):
        collector.event(0, Failure("s", code, "why"))
