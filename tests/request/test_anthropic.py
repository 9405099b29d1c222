"""Anthropic's requests become ours, or an error that names the field."""

import json
from typing import Any

import pytest
from anthropic.types import beta as sdk
from anthropic.types.beta import message_create_params

from firesteel.errors import RequestError
from firesteel.request.anthropic import parse, parse_count
from firesteel.types import ChatPrompt, Request, Sampling
from firesteel.wire.anthropic import FATES, NOTED, REFUSED, MessagesBody
from firesteel.wire.fields import annotations

BODY: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"name": "weather", "description": "d", "input_schema": SCHEMA}


def parsed(headers: dict[str, str] | None = None, **fields: Any) -> Request:
    body = {name: value for name, value in {**BODY, **fields}.items() if value is not None}
    return parse(json.dumps(body).encode(), request_id="r", defaults=Sampling(), headers=headers or {})


def prompt_of(request: Request) -> ChatPrompt:
    (prompt,) = request.prompts
    assert isinstance(prompt, ChatPrompt)
    return prompt


def turns(*content: Any, role: str = "user", **fields: Any) -> list[tuple[str, str]]:
    messages = [{"role": role, "content": list(content)}, {"role": "user", "content": "go"}]
    return [(m.role, m.content) for m in prompt_of(parsed(messages=messages, **fields)).messages[:-1]]


def refused(**fields: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        parsed(**fields)
    assert caught.value.status == 400
    return caught.value


def known(parent: str = "") -> set[str]:
    return {path.rpartition(".")[2] for path in annotations(MessagesBody) if path.rpartition(".")[0] == parent}


def test_every_field_of_the_official_sdk_is_known() -> None:
    base = set(message_create_params.MessageCreateParamsBase.__annotations__) - {"betas"}  # a header
    assert base <= known()
    assert set(sdk.BetaToolParam.__annotations__) <= known("tools")
    assert set(sdk.BetaOutputConfigParam.__annotations__) <= known("output_config")
    assert set(sdk.BetaTextBlockParam.__annotations__) <= known("system")


def test_a_field_has_no_effect_exactly_if_it_stands_in_a_table() -> None:
    untyped = {path for path, kind in annotations(MessagesBody).items() if kind is Any}
    assert untyped == set(NOTED) | set(REFUSED)
    assert FATES.noted is NOTED


def test_plain_fields() -> None:
    request = parsed(
        system=[{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        temperature=0.5,
        top_k=3,
        stop_sequences=["x"],
        stream=True,
        speed="fast",
    )
    assert (request.kind, request.max_tokens, request.stop, request.stream) == ("messages", 9, ("x",), True)
    assert (request.sampling.temperature, request.sampling.top_k, request.tier) == (0.5, 3, "priority")
    assert [(m.role, m.content) for m in prompt_of(request).messages] == [("system", "a\n\nb"), ("user", "hi")]


def test_the_billing_block_is_dropped() -> None:
    billing = {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.330.NNN"}
    request = parsed(system=[billing, {"type": "text", "text": "b"}])
    assert prompt_of(request).messages[0].content == "b"
    assert request.noted == ("x-anthropic-billing-header",)


def test_a_tool_loop() -> None:
    call = {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Oslo"}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "rain"}]}
    failed = {"type": "tool_result", "tool_use_id": "t2", "content": "no such city", "is_error": True}
    messages = [
        {"role": "user", "content": "weather?"},
        {
            "role": "assistant",
            "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "ok"}, call],
        },
        {"role": "user", "content": [{"type": "text", "text": "and?"}, result, failed]},
        {"role": "system", "content": "be brief"},
    ]
    request = parsed(messages=messages, tools=[WEATHER])
    _, assistant, *rest = prompt_of(request).messages
    assert assistant.content == "ok"
    assert assistant.tool_calls[0]["function"] == {"name": "weather", "arguments": '{"city": "Oslo"}'}
    assert [(m.role, m.content, m.tool_call_id) for m in rest] == [
        ("tool", "rain", "t1"),
        ("tool", "Error: no such city", "t2"),
        ("user", "and?", None),
        ("system", "be brief", None),
    ]
    assert request.noted == ("messages.content.thinking",)
    assert prompt_of(request).tools[0]["function"] == {"name": "weather", "description": "d", "parameters": SCHEMA}


def test_what_a_text_model_cannot_read_is_left_out_and_noted() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "xx"}}
    text = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "abc"}}
    odd = {"type": "container_upload", "file_id": "f"}
    search = {"type": "search_result", "title": "t", "source": {}, "content": [{"type": "text", "text": "found"}]}
    assert turns(image) == [("user", "[An image was left out: this model reads text only.]")]
    assert turns(text, search) == [("user", "abc\nfound")]
    assert "container_upload" in turns(odd)[0][1]
    in_result = {"type": "tool_result", "tool_use_id": "t", "content": [image]}
    request = parsed(messages=[{"role": "user", "content": [image, odd, in_result]}])
    assert request.noted == ("messages.content.image", "messages.content.container_upload")
    assert "An image was left out" in prompt_of(request).messages[0].content


def test_a_system_message_is_cleared_at_the_next_user_message() -> None:
    reminder = {"role": "system", "content": "now", "clear_at": "next_user_message"}
    user = {"role": "user", "content": "a"}
    assert len(prompt_of(parsed(messages=[user, reminder])).messages) == 2
    assert len(prompt_of(parsed(messages=[user, reminder, user])).messages) == 2


def test_deferred_tools_are_shown_when_they_are_referred_to() -> None:
    later = {**WEATHER, "name": "later", "defer_loading": True}
    found = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "tool_reference", "tool_name": "later"}]}

    def names(*content: Any) -> list[str]:
        request = parsed(messages=[{"role": "user", "content": list(content)}], tools=[WEATHER, later])
        return [tool["function"]["name"] for tool in prompt_of(request).tools]

    assert names({"type": "text", "text": "x"}) == ["weather"]
    assert names(found) == ["weather", "later"]


@pytest.mark.parametrize(
    ("choice", "expected", "constrained"),
    [
        (None, "auto", False),
        ({"type": "auto"}, "auto", False),
        ({"type": "any"}, "required", True),
        ({"type": "tool", "name": "weather"}, "weather", True),
        ({"type": "none"}, "none", False),
    ],
)
def test_tool_choice(choice: Any, expected: str, constrained: bool) -> None:
    request = parsed(tools=[WEATHER], tool_choice=choice)
    assert prompt_of(request).tool_choice == expected
    assert (request.constraint is not None) is constrained


def test_one_call_only() -> None:
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    assert parsed(tools=[WEATHER], tool_choice=choice).stop == ("</tool_call>",)


def test_a_format_and_a_strict_tool_constrain() -> None:
    assert parsed(output_config={"format": {"type": "json_schema", "schema": SCHEMA}}).constraint
    assert parsed(tools=[{**WEATHER, "strict": True}]).constraint
    assert parsed(output_config={"effort": "high"}).noted == ("output_config.effort",)


def test_unknown_fields_are_noted_for_clients_of_betas_only() -> None:
    assert parsed({"anthropic-beta": "new-thing"}, new_thing=1, metadata={"user_id": "u"}).noted == (
        "metadata",
        "new_thing",
    )
    assert refused(new_thing=1).param == "new_thing"


def test_counting_needs_no_max_tokens() -> None:
    body = {name: value for name, value in BODY.items() if name != "max_tokens"}
    assert parse_count(json.dumps(body).encode(), request_id="r", defaults=Sampling()).max_tokens == 0


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]}, "messages[0].content[0].tool_use_id"),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_use", "id": "i", "name": "n"}]}]},
            "messages[0].content[0].input",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_use", "id": "i", "name": "n", "input": {}}]}]},
            "messages[0].content",
        ),
        ({"temperature": 1.5}, "temperature"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        ({"tools": [WEATHER, WEATHER]}, "tools[1].name"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "x"}}, "tool_choice.name"),
        ({"output_config": {"format": {"type": "json_schema", "schema": {"not": {}}}}}, "output_config.format.schema"),
        ({"mcp_servers": [{"url": "x"}]}, "mcp_servers"),
        ({"container": "x"}, "container"),
    ],
)
def test_what_cannot_be_honoured_names_the_field(fields: dict[str, Any], param: str) -> None:
    assert refused(**fields).param == param


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"model": "\xff"}', b"[" * 5000])
def test_what_is_no_request_is_refused_with_and_without_betas(body: bytes) -> None:
    for headers in ({}, {"anthropic-beta": "x"}):
        with pytest.raises(RequestError):
            parse(body, request_id="r", defaults=Sampling(), headers=headers)
