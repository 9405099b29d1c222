"""The official `anthropic` SDK against a live server."""

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from tests.server.live import Live, comments_of, serving, user

WEATHER: Any = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
HELLO = "Hello. What shall we write? 🦊 ok"


@pytest.fixture
def messages(server: Live) -> Iterator[Any]:
    with anthropic.Anthropic(base_url=server.url, api_key="any", max_retries=0, timeout=30) as client:
        yield client.beta.messages


def num_prompt(message: Any) -> int:
    """Return the tokens of the prompt, whoever computed some of them before."""
    return int(message.usage.input_tokens + message.usage.cache_read_input_tokens)


def test_a_message_and_its_stream(messages: Any) -> None:
    asked: Any = {"model": "scripted", "max_tokens": 50, "messages": user("hello")}
    whole = messages.create(**asked)
    assert whole.content[0].text == HELLO
    assert whole.stop_reason == "end_turn"
    with messages.stream(**asked) as stream:
        assert "".join(stream.text_stream) == HELLO
        final = stream.get_final_message()
    assert final.usage.output_tokens == whole.usage.output_tokens
    assert num_prompt(final) == num_prompt(whole)


def test_a_tool_loop(messages: Any) -> None:
    question = user("What is the weather in Paris?")
    with messages.stream(model="scripted", max_tokens=200, messages=question, tools=[WEATHER]) as stream:
        called = stream.get_final_message()
    (call,) = called.content
    assert (called.stop_reason, call.name) == ("tool_use", "get_weather")
    assert isinstance(call.input["city"], str)
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "It is raining hard."}
    history = [*question, {"role": "assistant", "content": called.content}, {"role": "user", "content": [result]}]
    answer = messages.create(model="scripted", max_tokens=200, messages=history, tools=[WEATHER])
    assert "raining" in answer.content[0].text


def test_the_count_is_what_the_prompt_has(messages: Any) -> None:
    counted = messages.count_tokens(model="scripted", messages=user("hello"), tools=[WEATHER])
    answer = messages.create(model="scripted", max_tokens=0, messages=user("hello"), tools=[WEATHER])
    assert counted.input_tokens == answer.usage.input_tokens + answer.usage.cache_read_input_tokens
    assert answer.content == []


def test_a_stop_sequence(messages: Any) -> None:
    answer = messages.create(model="scripted", max_tokens=50, messages=user("hello"), stop_sequences=["shall"])
    assert (answer.content[0].text, answer.stop_reason, answer.stop_sequence) == (
        "Hello. What ",
        "stop_sequence",
        "shall",
    )


def test_errors_are_anthropics(messages: Any, server: Live) -> None:
    with pytest.raises(anthropic.NotFoundError) as missing:
        messages.create(model="claude", max_tokens=5, messages=user("hello"))
    assert missing.value.body["error"]["type"] == "not_found_error"  # type: ignore[index]
    with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
        messages.create(model="scripted", max_tokens=-5, messages=user("hello"))
    with pytest.raises(anthropic.InternalServerError):
        messages.create(model="scripted", max_tokens=5, messages=user("fail first"))
    with (
        pytest.raises(anthropic.APIStatusError),
        messages.stream(model="scripted", max_tokens=50, messages=user("fail later")) as stream,
    ):
        list(stream)
    wrong = server.http.get("/v1/messages")
    assert (wrong.status_code, wrong.json()["type"]) == (405, "error")


def test_progress_comes_as_comments(server: Live) -> None:
    asked = {"model": "scripted", "max_tokens": 5, "stream": True, "messages": user("read slowly" + " word" * 600)}
    response = server.http.post("/v1/messages?beta=true", json=asked)
    assert any(comment.startswith("prefill ") for comment in comments_of(response.content))


def test_the_key_may_come_as_anthropics_clients_send_it() -> None:
    with serving(env={"FIRESTEEL_API_KEY": "secret"}) as live:
        asked: Any = {"model": "scripted", "max_tokens": 5, "messages": user("hello")}
        for options in ({"api_key": "secret"}, {"auth_token": "secret", "api_key": None}):
            with anthropic.Anthropic(base_url=live.url, max_retries=0, **options) as client:
                assert client.messages.create(**asked).content
        wrong = anthropic.Anthropic(base_url=live.url, api_key="wrong", max_retries=0)
        with wrong as client, pytest.raises(anthropic.AuthenticationError) as caught:
            client.messages.create(**asked)
        assert caught.value.body["error"]["type"] == "authentication_error"  # type: ignore[index]
