"""What OpenAI's wire cannot say: text that is taken back, and an answer that its user broke off."""

import json

import pytest

from firesteel.errors import EngineFailure
from firesteel.stream.openai import collector_of, stream_of
from firesteel.stream.sse import SSEDecoder, SSEMessage
from firesteel.types import Request, Rewind
from tests.stream.stream_cases import (
    CREATED,
    TOKENIZER,
    TOOLS,
    Run,
    body_of,
    chat_request,
    chunks_of,
    completion_request,
    delta,
    finish,
    stream_bytes,
)

REQUESTS = [chat_request(), completion_request()]
kinds = pytest.mark.parametrize("request_", REQUESTS, ids=["chat", "completion"])


@kinds
def test_a_rewind_ends_a_stream_with_an_error(request_: Request) -> None:
    """Law 5: such a client must never receive text that was later taken back, so it is told that it has."""
    stream = stream_of(request_, created=CREATED, model="m", tokenizer=TOKENIZER)
    sent = stream.event(0, delta("abc")) + stream.event(0, Rewind("s", 1, 1))
    *_, last = SSEDecoder().feed(sent)
    assert isinstance(last, SSEMessage)
    assert json.loads(last.data)["error"]["code"] == "text_taken_back"
    assert stream.event(0, delta("d")) + stream.event(0, finish()) + stream.end() == b""


@kinds
def test_a_rewind_is_the_error_of_a_whole_answer(request_: Request) -> None:
    collector = collector_of(request_, created=CREATED, model="m", tokenizer=TOKENIZER)
    collector.event(0, delta("abc"))
    with pytest.raises(EngineFailure, match="taken back"):
        collector.event(0, Rewind("s", 1, 1))


@kinds
def test_a_steered_answer_stops_and_says_why(request_: Request) -> None:
    run: Run = [(0, delta("abc")), (0, finish("steered"))]
    body = body_of(request_, run)
    last = chunks_of(stream_bytes(request_, run))[-1]
    for answer in (body, last):
        assert answer["choices"][0]["finish_reason"] == "stop"
        assert answer["firesteel"]["steered"] is True
        assert "cancelled" not in answer["firesteel"]


@pytest.mark.parametrize("choice", ["auto", "required", "f"])
def test_an_answer_of_no_tokens_is_empty_whatever_was_forced(choice: str) -> None:
    request = chat_request(tools=TOOLS, tool_choice=choice, max_tokens=0)
    run: Run = [(0, finish("length", num_output=0))]
    body = body_of(request, run)
    assert body["choices"][0]["message"]["content"] == ""
    assert body["choices"][0]["finish_reason"] == "length"
    chunks = chunks_of(stream_bytes(request, run))
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == ""
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
