import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firesteel.errors import RequestError
from firesteel.request.openai_chat import parse
from firesteel.types import ChatPrompt, Message, Request, Sampling

DEFAULTS = Sampling(temperature=0.7, top_k=20, top_p=0.8, min_p=0.05)
USER = [{"role": "user", "content": "hi"}]
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {"name": "weather", "description": "Tells it.", "parameters": {"type": "object"}},
}
OTHER: dict[str, Any] = {"type": "function", "function": {"name": "other"}}
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}


def parsed(messages: object = USER, **fields: object) -> Request:
    body = json.dumps({"model": "m", "messages": messages, **fields}).encode()
    return parse(body, request_id="r", defaults=DEFAULTS)


def prompt_of(request: Request) -> ChatPrompt:
    (prompt,) = request.prompts
    assert isinstance(prompt, ChatPrompt)
    return prompt


def refused(messages: object = USER, **fields: object) -> RequestError:
    with pytest.raises(RequestError) as caught:
        parsed(messages, **fields)
    return caught.value


def test_least_request_takes_the_models_defaults() -> None:
    assert parsed() == Request(
        id="r",
        kind="chat",
        model="m",
        prompts=(ChatPrompt(messages=(Message(role="user", content="hi"),)),),
        sampling=DEFAULTS,
        max_tokens=None,
    )


def test_every_setting_arrives() -> None:
    request = parsed(
        temperature=0,
        top_p=0.5,
        top_k=3,
        min_p=0.1,
        seed=-5,
        presence_penalty=1,
        frequency_penalty=-2,
        logit_bias={"7": -100, "8": 1.5},
        logprobs=True,
        top_logprobs=4,
        n=2,
        max_completion_tokens=9,
        stop=["a", "b"],
        stream=True,
        stream_options={"include_usage": True},
    )
    assert request.sampling == Sampling(
        temperature=0,
        top_p=0.5,
        top_k=3,
        min_p=0.1,
        seed=-5,
        presence_penalty=1,
        frequency_penalty=-2,
        logit_bias=((7, -100), (8, 1.5)),
        num_logprobs=4,
    )
    assert (request.n, request.max_tokens, request.stop) == (2, 9, ("a", "b"))
    assert (request.stream, request.include_usage, request.noted) == (True, True, ())


@pytest.mark.parametrize(("fields", "expected"), [({}, None), ({"logprobs": False}, None), ({"logprobs": True}, 0)])
def test_logprobs_without_rivals(fields: dict[str, object], expected: int | None) -> None:
    assert parsed(**fields).sampling.num_logprobs == expected


def test_stop_may_be_one_string_and_top_k_off() -> None:
    request = parsed(stop="\n", top_k=-1)
    assert request.stop == ("\n",)
    assert request.sampling.top_k == 0


def test_both_names_of_max_tokens() -> None:
    assert parsed(max_tokens=5).max_tokens == 5
    assert parsed(max_tokens=5, max_completion_tokens=5).max_tokens == 5
    assert parsed(max_tokens=0).max_tokens == parsed(max_completion_tokens=0).max_tokens == 0
    assert refused(max_tokens=5, max_completion_tokens=6).param == "max_tokens"


def test_stream_options_without_stream_are_noted() -> None:
    request = parsed(stream_options={"include_usage": True}, user="me")
    assert request.noted == ("stream_options", "user")
    assert not request.include_usage


def test_conversation_with_a_tool_call() -> None:
    request = parsed(
        [
            {"role": "developer", "content": "be brief"},
            {
                "role": "user",
                "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
                "name": "Al",
            },
            {"role": "assistant", "content": None, "tool_calls": [CALL], "refusal": None, "annotations": []},
            {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
            {"role": "assistant", "refusal": "never"},
        ],
        tools=[WEATHER, OTHER],
    )
    prompt = prompt_of(request)
    assert prompt.messages == (
        Message(role="system", content="be brief"),
        Message(role="user", content="a\nb", name="Al"),
        Message(role="assistant", tool_calls=(CALL,)),
        Message(role="tool", content="sunny", tool_call_id="c1"),
        Message(role="assistant", content="no"),
        Message(role="assistant", content="never"),
    )
    assert prompt.tools[0] == WEATHER
    assert prompt.tools[1]["function"] == {
        "name": "other",
        "parameters": {"type": "object", "properties": {}},
    }
    assert request.noted == ()


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"type": "image_url", "image_url": {"url": "data:..."}}, "An image"),
        ({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}, "An audio clip"),
        ({"type": "file", "file": {"file_id": "f"}}, "A file"),
    ],
)
def test_what_is_not_text_is_noted_and_the_model_is_told(part: dict[str, Any], said: str) -> None:
    request = parsed([{"role": "user", "content": [{"type": "text", "text": "look"}, part]}])
    content = prompt_of(request).messages[0].content
    assert content == f"look\n[{said} was left out: this model reads text only.]"
    assert request.noted == (f"messages.content.{part['type']}",)


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([], "messages"),
        ([{"role": "user"}], "messages[0].content"),
        ([{"role": "user", "content": [{"type": "text"}]}], "messages[0].content[0].text"),
        ([{"role": "tool", "content": "x"}], "messages[0].tool_call_id"),
        ([{"role": "user", "content": "x", "tool_calls": [CALL]}], "messages[0].tool_calls"),
        ([{"role": "assistant", "tool_calls": [{"id": "c"}]}], "messages[0].tool_calls[0].function"),
    ],
)
def test_message_that_says_too_little(messages: object, param: str) -> None:
    assert refused(messages).param == param


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, "auto"),
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        ({"type": "function", "function": {"name": "other"}}, "other"),
    ],
)
def test_tool_choice(choice: object, expected: str) -> None:
    assert prompt_of(parsed(tools=[WEATHER, OTHER], tool_choice=choice)).tool_choice == expected


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tool_choice": "required"}, "tool_choice"),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "x"}}},
            "tool_choice.function.name",
        ),
        ({"tools": [WEATHER, WEATHER]}, "tools[1].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "auto"}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "a\n"}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "custom", "function": {"name": "a"}}]}, "tools[0].custom"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        (
            {"tools": [{"type": "custom", "custom": {"name": "a", "format": {"type": "grammar"}}}]},
            "tools[0].custom.format.grammar",
        ),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "custom", "custom": {"name": "weather"}}},
            "tool_choice.custom.name",
        ),
        ({"tools": [WEATHER], "tool_choice": {"type": "allowed_tools"}}, "tool_choice.allowed_tools"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"prediction": {"type": "content"}}, "prediction.content"),
        ({"prediction": {"type": "diff", "content": "x"}}, "prediction.type"),
        ({"prediction": {"type": "content", "content": [{"type": "text"}]}}, "prediction.content[0].text"),
        ({"prediction": {"type": "content", "content": 1}}, "prediction.content"),
        ({"prediction": "x"}, "prediction"),
    ],
)
def test_what_cannot_be_honoured_names_the_field(fields: dict[str, object], param: str) -> None:
    error = refused(**fields)
    assert error.param == param
    assert error.status == 400


def test_a_prediction_is_the_text_of_its_parts() -> None:
    assert parsed().prediction == ""
    assert parsed(prediction={"type": "content", "content": "x = 1\n"}).prediction == "x = 1\n"
    parts = [{"type": "text", "text": "x = "}, {"type": "text", "text": "1\n"}]
    assert parsed(prediction={"type": "content", "content": parts}, n=2).prediction == "x = 1\n"


def test_a_response_format_goes_with_tools() -> None:
    wanted = {"type": "json_object"}
    assert parsed(response_format=wanted).constraint is not None
    assert parsed(response_format=wanted, tools=[WEATHER], tool_choice="none").constraint is not None
    assert parsed(response_format={"type": "text"}, tools=[WEATHER]).constraint is None
    assert parsed(response_format=wanted, tools=[WEATHER]).constraint is not None


def test_one_call_only_is_a_stop_string() -> None:
    assert parsed(tools=[WEATHER], parallel_tool_calls=False, stop="x").stop == ("x", "</tool_call>")
    named = {"type": "function", "function": {"name": "weather"}}
    assert parsed(tools=[WEATHER], tool_choice=named).constraint is not None
    assert parsed(tools=[WEATHER], parallel_tool_calls=True).stop == ()
    assert parsed(tools=[WEATHER], tool_choice="none", parallel_tool_calls=False).stop == ()
    assert parsed(parallel_tool_calls=False).stop == ()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = (
    *(
        "messages",
        "temperature",
        "stop",
        "logit_bias",
        "tools",
        "tool_choice",
        "n",
        "stream_options",
        "logprobs",
    ),
    *("response_format", "max_tokens", "prediction", "modalities", "functions", "user", "seed"),
)


@given(st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=4))
def test_any_json_is_a_request_or_a_request_error(fields: dict[str, Any]) -> None:
    body = json.dumps({"model": "m", "messages": USER, **fields}).encode()
    try:
        at_fault = None if parse(body, request_id="r", defaults=DEFAULTS).kind == "chat" else "kind"
    except RequestError as error:
        at_fault = error.param
    assert at_fault is None or at_fault.split(".")[0].split("[")[0] in FIELDS
