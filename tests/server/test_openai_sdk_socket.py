"""The official SDK's WebSocket: its connection, its lanes, and steering through its own helper."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from openai import AsyncOpenAI
from openai.lib.responses_websocket import (
    AsyncResponsesWebSocketSession,
    ResponsesWebSocketAccumulator,
    ResponsesWebSocketLimits,
)

from tests.server.live import Live

HELLO = "Hello. What shall we write? 🦊 ok"
LIMITS = ResponsesWebSocketLimits(
    max_lanes=8, max_events_per_lane=5000, max_events=20_000, max_bytes_per_lane=2**24, max_bytes=2**25
)
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": False,
}


def sdk(server: Live) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0)


@asynccontextmanager
async def session_with(server: Live) -> AsyncIterator[AsyncResponsesWebSocketSession]:
    async with (
        sdk(server) as client,
        client.responses.connect() as connection,
        AsyncResponsesWebSocketSession(connection, limits=LIMITS) as session,
    ):
        yield session


def create(text: Any, **fields: Any) -> Any:
    return {"type": "response.create", "model": "scripted", "input": text, **fields}


async def test_lanes_side_by_side(server: Live) -> None:
    async with session_with(server) as session:
        lanes = [session.lane(f"lane-{number}") for number in range(4)]
        for number, lane in enumerate(lanes):
            await lane.send(create("hello" if number % 2 else "slow", max_output_tokens=60))
        finals = await asyncio.gather(*(lane.get_final_response() for lane in lanes))
        assert [final.output_text == HELLO for final in finals] == [False, True, False, True]
        assert finals[0].status == "incomplete"


async def test_a_tool_loop_that_is_not_stored(server: Live) -> None:
    async with session_with(server) as session:
        lane = session.lane("loop")
        await lane.send(create("What is the weather?", store=False, tools=[WEATHER]))
        first = await lane.get_final_response()
        (call,) = first.output
        assert call.type == "function_call"
        output = [{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}]
        await lane.send(create(output, store=False, previous_response_id=first.id, tools=[WEATHER]))
        assert "sunny" in (await lane.get_final_response()).output_text


async def test_steering(server: Live) -> None:
    async with session_with(server) as session:
        lane, kinds, accumulator = session.lane("steered"), [], ResponsesWebSocketAccumulator()
        await lane.send(create("slow"))
        while "response.completed" not in kinds:
            event = await lane.recv()
            kinds.append(event.type)
            if event.type == "response.created" and kinds.count(event.type) == 2:
                accumulator.reset()
            accumulator.add_event(event)
            if kinds.count("response.output_text.delta") == 5 and event.type == "response.output_text.delta":
                id = accumulator.snapshot().response_id or ""
                await lane.send({"type": "response.steer", "previous_response_id": id, "input": "hello"})
        order = ["response.steer.accepted", "response.incomplete", "response.completed"]
        assert [kind for kind in kinds if kind in order] == order
        assert accumulator.get_final_response().output_text == HELLO
        assert accumulator.snapshot().output_text == HELLO


async def test_plain_events_of_the_connection(server: Live) -> None:
    async with sdk(server) as client, client.responses.connect() as connection:
        await connection.response.create(model="scripted", input="hello")
        kinds = []
        async for event in connection:
            kinds.append(event.type)
            if event.type == "response.completed":
                break
        assert kinds[:2] == ["response.created", "response.in_progress"]
