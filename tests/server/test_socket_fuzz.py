"""Whatever a client sends over a WebSocket is answered, and the connection lives."""

import asyncio
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.responses.stage import TOOL, Stage, settle
from tests.server.life import Life

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
items = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["message", "function_call", "function_call_output", "item_reference", "reasoning"])
        | values,
        "role": st.sampled_from(["user", "assistant", "developer"]) | values,
        "content": st.text(max_size=5)
        | st.lists(st.fixed_dictionaries({"type": st.just("input_text")}) | values)
        | values,
        "call_id": values,
        "name": st.just("run") | values,
        "arguments": st.just("{}") | values,
        "output": values,
        "id": values,
    },
)
fields = st.fixed_dictionaries(
    {},
    optional={
        "input": st.text(max_size=5) | st.lists(items, max_size=3) | values,
        "stream_id": st.sampled_from(["a", "b", ""]) | values,
        "previous_response_id": values,
        "response_id": values,
        "tools": st.just([TOOL]) | st.lists(values, max_size=2),
        "tool_choice": st.sampled_from(["auto", "required", "none"]) | values,
        "text": st.just({"format": {"type": "json_schema", "name": "x", "schema": {}}}) | values,
        "max_output_tokens": st.integers(0, 5) | values,
        "metadata": values,
        "generate": values,
        "truncation": st.sampled_from(["auto", "disabled"]) | values,
        "mode": values,
        "store": values,
    },
)
kinds = st.sampled_from(["response.create", "response.create", "response.steer", "response.interrupt"]) | values
events = st.builds(lambda kind, rest: json.dumps({"type": kind, "model": "fake", **rest}), kinds, fields)
frames = (
    events | values.map(json.dumps) | st.text(max_size=20) | st.sampled_from(['"\\ud800"', "[" * 5000, "\x00", "{"])
)


@settings(max_examples=150, deadline=None)
@given(st.lists(frames, max_size=6))
def test_every_frame_is_answered_and_the_connection_lives(sent: list[str]) -> None:
    asyncio.run(send_all(sent))


async def send_all(sent: list[str]) -> None:
    stage = Stage(max_live=4, max_queue=100)
    life = Life(stage)
    for frame in sent:
        life.socket.receive_text(frame)
        await asyncio.sleep(0.001)  # what is looked up in the store comes from another thread
        await settle()
        finish_all(stage)
        await settle()
    assert not life.task.done(), life.task
    life.socket.create("hello", stream_id="the-last-one")
    while not any(is_first_of_the_last_one(event) for event in life.socket.sent):
        await asyncio.sleep(0.001)
    assert len(life.socket.sent) >= len(sent)
    life.socket.leave()
    await asyncio.wait_for(life.task, 5)
    assert stage.responses.active == {}
    stage.close()


def is_first_of_the_last_one(event: dict[str, Any]) -> bool:
    return event["type"] == "response.created" and event.get("stream_id") == "the-last-one"


def finish_all(stage: Stage) -> None:
    """Let the engine end what it was given."""
    while stage.num_finished < len(stage.engine.works):
        stage.engine.finish(stage.num_finished, "length")
        stage.num_finished += 1
