"""The official `openai` SDK against a live server: what it asks for is what it gets."""

import asyncio
import json
from typing import Any

import openai
import pytest

from tests.server.live import Live, user

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
HELLO = "Hello. What shall we write? 🦊 ok"


def only_call(message: Any) -> Any:
    (call,) = message.tool_calls
    return call


def plain(call: Any) -> dict[str, Any]:
    function = {"name": call.function.name, "arguments": call.function.arguments}
    return {"id": call.id, "type": "function", "function": function}


def streamed_chat(client: openai.OpenAI, text: str, **fields: Any) -> list[Any]:
    return list(client.chat.completions.create(model="scripted", messages=user(text), stream=True, **fields))


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["scripted"]
    assert client.models.retrieve("scripted").owned_by == "firesteel"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-99")


def test_chat(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="scripted", messages=user("hello"))
    assert answer.choices[0].message.content == HELLO
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.prompt_tokens_details is not None


def test_chat_streamed_with_usage(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="scripted", messages=user("hello"))
    chunks = streamed_chat(client, "hello", stream_options={"include_usage": True})
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == HELLO
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]][-1] == "stop"
    assert chunks[-1].choices == []
    assert whole.usage is not None
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert len({chunk.id for chunk in chunks}) == 1


def test_completion_and_its_stream(client: openai.OpenAI) -> None:
    prompt = "def add(a, b):\n"
    whole = client.completions.create(model="scripted", prompt=prompt, max_tokens=40, temperature=0)
    chunks = client.completions.create(model="scripted", prompt=prompt, max_tokens=40, temperature=0, stream=True)
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text
    assert whole.choices[0].finish_reason == "length"
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 40


def test_fill_in_the_middle(client: openai.OpenAI) -> None:
    hole: Any = {"prompt": "def add(a, b):\n    return ", "suffix": "\n\nprint(add(1, 2))\n"}
    whole = client.completions.create(model="scripted", temperature=0, **hole)
    assert whole.choices[0].text.strip()
    assert whole.choices[0].finish_reason == "stop"
    chunks = client.completions.create(model="scripted", temperature=0, stream=True, **hole)
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text


def test_choices(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="scripted", messages=user("go on"), n=3, max_tokens=8)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 24
    chunks = streamed_chat(client, "hello", n=3, temperature=0)
    texts = ["", "", ""]
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == [HELLO] * 3


def test_stop_string_does_not_leak(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="scripted", messages=user("hello"), stop=["shall", "never"])
    assert answer.choices[0].message.content == "Hello. What "
    assert answer.choices[0].finish_reason == "stop"
    chunks = streamed_chat(client, "hello", stop="write?")
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello. What shall we "


def test_seed_repeats_and_another_differs(client: openai.OpenAI) -> None:
    def text(seed: int) -> str | None:
        answer = client.chat.completions.create(
            model="scripted", messages=user("go on"), temperature=2, top_p=1, seed=seed, max_tokens=40
        )
        return answer.choices[0].message.content

    assert text(7) == text(7) != text(8)


def test_logprobs_of_both_endpoints(client: openai.OpenAI) -> None:
    chat = client.chat.completions.create(
        model="scripted", messages=user("hello"), logprobs=True, top_logprobs=3, temperature=0
    )
    assert chat.choices[0].logprobs is not None
    entries = chat.choices[0].logprobs.content
    assert entries is not None
    assert b"".join(bytes(entry.bytes or ()) for entry in entries).decode() == HELLO
    for entry in entries:
        assert entry.logprob <= 0
        assert entry.logprob == max(rival.logprob for rival in entry.top_logprobs)
        assert len(entry.top_logprobs) == 3
    raw = client.completions.create(model="scripted", prompt="def f():\n", logprobs=2, max_tokens=6, temperature=0)
    logprobs = raw.choices[0].logprobs
    assert logprobs is not None
    assert "".join(logprobs.tokens or ()) == raw.choices[0].text
    assert len(logprobs.token_logprobs or ()) == 6


def test_required_tool_is_called(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="scripted", messages=user("go on"), tools=[WEATHER], tool_choice="required"
    )
    call = only_call(answer.choices[0].message)
    assert answer.choices[0].finish_reason == "tool_calls"
    assert call.type == "function"
    assert call.function.name == "get_weather"
    assert isinstance(json.loads(call.function.arguments)["city"], str)


def test_streamed_tool_call_and_its_result(client: openai.OpenAI) -> None:
    question = user("What is the weather in Paris?")
    with client.chat.completions.stream(model="scripted", messages=question, tools=[WEATHER]) as stream:
        message = stream.get_final_completion().choices[0].message
    call = only_call(message)
    assert json.loads(call.function.arguments)["city"]
    result = {"role": "tool", "tool_call_id": call.id, "content": "It is raining hard."}
    called = {"role": "assistant", "tool_calls": [plain(call)]}
    history: Any = [*question, called, result]
    answer = client.chat.completions.create(model="scripted", messages=history, tools=[WEATHER])
    assert "raining" in (answer.choices[0].message.content or "")


def test_early_close_frees_the_sequence(client: openai.OpenAI, server: Live) -> None:
    stream = client.chat.completions.create(model="scripted", messages=user("slow"), stream=True)
    assert next(stream).choices
    assert next(stream).choices
    server.wait_engine(num_running=1)
    stream.close()
    server.wait_idle()


def test_unknown_model(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt-99", messages=user("hello"))
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert "scripted" in caught.value.message


def test_a_field_out_of_range(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="scripted", messages=user("hello"), temperature=9)
    assert (caught.value.code, caught.value.param) == ("invalid_value", "temperature")


def test_a_failure_before_the_first_token_is_a_status(client: openai.OpenAI) -> None:
    for stream in (False, True):
        with pytest.raises(openai.InternalServerError) as caught:
            client.chat.completions.create(model="scripted", messages=user("fail first"), stream=stream)
        assert (caught.value.status_code, caught.value.code) == (500, "engine_failure")


def test_a_failure_in_mid_stream_is_an_error_event(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(model="scripted", messages=user("fail later"), stream=True)
    with pytest.raises(openai.APIError, match="script fails") as caught:
        list(stream)
    assert caught.value.code == "engine_failure"


def test_a_client_that_gives_up_frees_the_sequence(client: openai.OpenAI, server: Live) -> None:
    impatient = client.with_options(timeout=0.3)
    with pytest.raises(openai.APITimeoutError):
        impatient.chat.completions.create(model="scripted", messages=user("stall"))
    server.wait_idle()


async def test_many_streams_at_once(server: Live) -> None:
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as client:

        async def text(number: int) -> str:
            stream = await client.chat.completions.create(
                model="scripted", messages=user(f"hash {number}"), max_tokens=60, temperature=0, stream=True
            )
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

        together = await asyncio.gather(*[text(number) for number in range(20)])
        assert together == [await text(number) for number in range(20)]
    assert len(set(together)) == 20


WRITE: Any = {
    "type": "function",
    "function": {
        "name": "write_file",
        "description": "Write a file.",
        "parameters": {
            "type": "object",
            "properties": {"path": {"type": "string"}, "lines": {"type": "array", "items": {"type": "integer"}}},
            "required": ["lines", "path"],
            "additionalProperties": False,
        },
    },
}


def test_a_named_tool_is_called_by_its_schema_whatever_was_asked(client: openai.OpenAI) -> None:
    named: Any = {"type": "function", "function": {"name": "write_file"}}
    chunks = streamed_chat(client, "hello", tools=[WEATHER, WRITE], tool_choice=named, seed=1)
    calls = [call for chunk in chunks for choice in chunk.choices for call in choice.delta.tool_calls or ()]
    assert [call.function.name for call in calls if call.function.name] == ["write_file"]
    arguments = json.loads("".join(call.function.arguments for call in calls))
    assert set(arguments) == {"path", "lines"}
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_a_format_and_tools_together(client: openai.OpenAI) -> None:
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"const": {"ok": True}}}}
    for text, called in (("json", False), ("What is the weather in Paris?", True)):
        answer = client.chat.completions.create(
            model="scripted", messages=user(text), tools=[WEATHER], response_format=wanted, temperature=0
        )
        message = answer.choices[0].message
        assert bool(message.tool_calls) is called
        if not called:
            assert json.loads(message.content or "") == {"ok": True}


def test_the_tier_that_served_is_named(client: openai.OpenAI) -> None:
    def tier(**fields: Any) -> str | None:
        answer = client.chat.completions.create(model="scripted", messages=user("hello"), **fields)
        tier: str | None = answer.service_tier
        return tier

    assert [tier(service_tier="fast"), tier(service_tier="flex"), tier()] == ["priority", "default", None]


def test_fields_without_effect_are_named(client: openai.OpenAI) -> None:
    sent: Any = {"reasoning_effort": "low", "user": "me", "metadata": {"a": "b"}, "store": True}
    answer: Any = client.chat.completions.create(
        model="scripted", messages=user("hello"), max_completion_tokens=5, **sent
    )
    assert sorted(answer.firesteel["noted"]) == sorted(sent)
    assert answer.usage.completion_tokens == 5
