import json
from typing import Any

import msgspec
import pytest
from anthropic.types.beta import BetaMessage, BetaRawMessageStreamEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from firesteel.stream.openai import collector_of, stream_of
from firesteel.stream.sse import SSEDecoder, SSEMessage
from firesteel.types import Failure, Finish, Request
from tests.stream.stream_cases import CALL, TOKENIZER, TOOLS, Run, chat_request, delta, finish, runs, usage

EVENTS: TypeAdapter[Any] = TypeAdapter(BetaRawMessageStreamEvent)


def request_(tools: tuple[dict[str, Any], ...] = TOOLS, stop: tuple[str, ...] = ()) -> Request:
    return msgspec.structs.replace(chat_request(tools=tools), kind="messages", stop=stop)


def events_of(request: Request, run: Run) -> list[dict[str, Any]]:
    stream = stream_of(request, created=0, model="m", tokenizer=TOKENIZER)
    sent = stream.begin() + b"".join([stream.event(*event) for event in run]) + stream.end()
    messages = [item for item in SSEDecoder().feed(sent) if isinstance(item, SSEMessage)]
    events = [json.loads(message.data) for message in messages]
    assert [message.event for message in messages] == [event["type"] for event in events]
    return events


def body_of(request: Request, run: Run) -> dict[str, Any]:
    collector = collector_of(request, created=0, model="m", tokenizer=TOKENIZER)
    for event in run:
        collector.event(*event)
    body: dict[str, Any] = json.loads(collector.body())
    return body


def put_together(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the message that the events make."""
    message: dict[str, Any] = events[0]["message"]
    inputs: dict[int, str] = {}
    for event in events[1:]:
        if event["type"] == "content_block_start":
            assert event["index"] == len(message["content"])
            message["content"].append(event["content_block"])
        elif event["type"] == "content_block_delta":
            assert event["index"] == len(message["content"]) - 1
            block, added = message["content"][-1], event["delta"]
            if added["type"] == "text_delta":
                block["text"] += added["text"]
            else:
                inputs[event["index"]] = inputs.get(event["index"], "") + added["partial_json"]
        elif event["type"] == "message_delta":
            message |= event["delta"] | {"usage": event["usage"], "firesteel": event["firesteel"]}
    for index, text in inputs.items():
        try:
            message["content"][index]["input"] = json.loads(text)
        except ValueError:
            message["content"][index]["input"] = {"INVALID_JSON": text}
    return message


@given(st.data(), st.booleans())
@settings(deadline=None)
def test_events_put_together_are_the_whole_message(data: st.DataObject, with_tools: bool) -> None:
    request = request_(TOOLS if with_tools else ())
    run = data.draw(runs(1, logprobs=False))
    events = events_of(request, run)
    for event in events:
        EVENTS.validate_python(event)
    body = body_of(request, run)
    BetaMessage.model_validate(body)
    assert put_together(events) == body


def test_blocks_begin_and_end_in_order() -> None:
    events = events_of(request_(), [(0, delta(f"Look.\n{CALL}\nDone.")), (0, finish())])
    assert [(event["type"], event.get("index")) for event in events] == [
        ("message_start", None),
        *[("content_block_start", 0), ("content_block_delta", 0), ("content_block_stop", 0)],
        *[("content_block_start", 1), ("content_block_delta", 1), ("content_block_stop", 1)],
        *[("content_block_start", 2), ("content_block_delta", 2), ("content_block_stop", 2)],
        ("message_delta", None),
        ("message_stop", None),
    ]
    assert events[-2]["delta"]["stop_reason"] == "tool_use"
    assert events[-2]["usage"]["input_tokens"] == 2
    assert events[-2]["usage"]["cache_read_input_tokens"] == 3


@pytest.mark.parametrize(("reason", "expected"), [("length", "max_tokens"), ("stop", "end_turn")])
def test_stop_reasons(reason: Any, expected: str) -> None:
    assert body_of(request_(), [(0, delta("a")), (0, finish(reason))])["stop_reason"] == expected


def test_the_stop_sequence_that_ended_the_answer_is_named() -> None:
    """The engine's tokens reach to the end of the stop sequence, the released text up to it."""
    tokens = TOKENIZER.encode("a bc", special=False)
    run: Run = [(0, delta("a ")), (0, Finish("s", "stop", usage(), tokens))]
    body = body_of(request_(stop=("b", "bc", "x")), run)
    assert (body["stop_reason"], body["stop_sequence"]) == ("stop_sequence", "bc")
    assert body_of(request_(stop=("x",)), run)["stop_reason"] == "end_turn"


def test_a_failure_is_an_error_event() -> None:
    stream = stream_of(request_(), created=0, model="m", tokenizer=TOKENIZER)
    sent = stream.event(0, Failure("s", "server_is_overloaded", "later"))
    (message,) = SSEDecoder().feed(sent)
    assert isinstance(message, SSEMessage)
    assert message.event == "error"
    assert json.loads(message.data) == {"type": "error", "error": {"type": "overloaded_error", "message": "later"}}
    assert stream.end() == b""
