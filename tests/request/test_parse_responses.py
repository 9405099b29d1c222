"""A Responses request becomes messages, tools and a grammar; what cannot be honoured names its field."""

from typing import Any

import msgspec
import pytest

from firesteel.errors import RequestError
from firesteel.request.openai_responses import Asked, parse
from firesteel.request.response_items import Transcript, shrink
from firesteel.types import ChatPrompt, Sampling
from firesteel.wire.decode import decode
from firesteel.wire.openai_responses import ResponsesBody
from firesteel.wire.response_tools import custom_call

RUN = {"type": "function", "name": "run", "parameters": {"type": "object"}}
PATCH = {"type": "custom", "name": "patch", "description": "Patches."}


def asked(**fields: Any) -> Asked:
    body = decode(msgspec.json.encode({"model": "m", **fields}), ResponsesBody)
    return parse(body, Transcript(), request_id="r", defaults=Sampling())


def prompt_of(**fields: Any) -> ChatPrompt:
    (prompt,) = asked(**fields).request.prompts
    assert isinstance(prompt, ChatPrompt)
    return prompt


def said(*items: dict[str, Any], **fields: Any) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in prompt_of(input=list(items), **fields).messages]


def test_a_string_is_a_users_message() -> None:
    assert [(m.role, m.content) for m in prompt_of(input="hi").messages] == [("user", "hi")]


def test_roles_phases_and_instructions() -> None:
    parts = [{"type": "output_text", "text": "a", "annotations": [], "logprobs": []}]
    found = said(
        {"role": "developer", "content": "d"},
        {"type": "message", "role": "assistant", "content": parts, "phase": "commentary", "id": "m", "status": "x"},
        {"role": "user", "content": [{"type": "input_text", "text": "u"}]},
        instructions="i",
    )
    assert found == [("system", "i"), ("system", "d"), ("assistant", "a"), ("user", "u")]


def test_a_billing_line_is_dropped_and_noted() -> None:
    made = asked(instructions="x-anthropic-billing-header: cc_version=1;\nBe brief.", input="x")
    assert "x-anthropic-billing-header" in made.request.noted
    assert (
        "billing"
        not in prompt_of(instructions="x-anthropic-billing-header: cc_version=1;\nB", input="x").messages[0].content
    )


def test_calls_join_the_assistants_turn() -> None:
    messages = prompt_of(
        input=[
            {"role": "user", "content": "u"},
            {"role": "assistant", "content": "text"},
            {"type": "function_call", "call_id": "c", "name": "run", "namespace": "ns", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "42"}]},
        ]
    ).messages
    assert [message.role for message in messages] == ["user", "assistant", "tool"]
    assert messages[1].tool_calls[0]["function"]["name"] == "ns.run"
    assert messages[2].content == "42"


def test_a_custom_call_stands_in_the_history_as_the_model_wrote_it() -> None:
    call = {"type": "custom_tool_call", "call_id": "c", "name": "patch", "input": "+x"}
    assert said({"role": "assistant", "content": "Now."}, call) == [
        ("assistant", f"Now.\n{custom_call('patch', '+x')}")
    ]


def test_images_are_left_out_and_noted() -> None:
    parts = [{"type": "input_image", "image_url": "data:", "detail": "auto"}, {"type": "input_text", "text": "see"}]
    made = asked(input=[{"role": "user", "content": parts}])
    assert made.request.noted == ("input.content.input_image",)
    assert "image was left out" in made.transcript.messages[0].content


def test_what_real_clients_send_in_vain_is_noted() -> None:
    made = asked(
        input=[{"type": "reasoning", "id": "r", "summary": []}, {"role": "user", "content": "x"}],
        include=["reasoning.encrypted_content"],
        client_metadata={"a": "b"},
        reasoning={"effort": "low"},
        text={"verbosity": "low"},
        tools=[{"type": "web_search"}],
    )
    expected = {"input.reasoning", "include", "client_metadata", "reasoning", "text.verbosity", "tools.web_search"}
    assert set(made.request.noted) == expected
    assert made.offered == {}


def test_tools_come_from_the_request_from_namespaces_and_from_items() -> None:
    namespace = {"type": "namespace", "name": "ns", "description": "", "tools": [RUN, PATCH]}
    made = asked(
        tools=[RUN, {"type": "tool_search"}],
        input=[
            {"type": "additional_tools", "role": "developer", "tools": [namespace]},
            {"role": "user", "content": "x"},
        ],
    )
    assert list(made.offered) == ["run", "tool_search", "ns.run", "ns.patch"]
    later = parse(
        decode(b'{"model": "m", "input": "y"}', ResponsesBody), made.transcript, request_id="r", defaults=Sampling()
    )
    assert list(later.offered) == ["ns.run", "ns.patch"]


def test_a_search_for_tools_brings_tools() -> None:
    made = asked(
        input=[
            {"type": "tool_search_call", "call_id": "c", "arguments": {"query": "q"}, "execution": "client"},
            {"type": "tool_search_output", "call_id": "c", "tools": [RUN]},
        ]
    )
    assert list(made.offered) == ["run"]
    assert [message.role for message in made.transcript.messages] == ["assistant", "tool"]


@pytest.mark.parametrize(
    ("choice", "offered", "has_grammar"),
    [
        ("auto", ["run", "patch"], True),  # the custom tool's calls are constrained
        ("none", [], False),
        ("required", ["run", "patch"], True),
        ({"type": "function", "name": "run"}, ["run", "patch"], True),
        ({"type": "custom", "name": "patch"}, ["run", "patch"], True),
        ({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "run"}]}, ["run"], False),
    ],
)
def test_tool_choice(choice: Any, offered: list[str], has_grammar: bool) -> None:
    made = asked(input="x", tools=[RUN, PATCH], tool_choice=choice)
    assert list(made.offered) == offered
    assert (made.request.constraint is not None) == has_grammar


def test_a_compaction_is_read_again() -> None:
    found = said({"type": "compaction", "encrypted_content": shrink("We did it."), "id": "c"})
    assert found[0][0] == "system"
    assert found[0][1].endswith("We did it.")


def test_a_warm_up_asks_for_no_token() -> None:
    assert asked(input="x", generate=False).request.max_tokens == 0
    assert asked(input="x", prompt_cache_options={"prewarm": True}).request.max_tokens == 0


def test_service_tiers_choose_the_queue() -> None:
    assert asked(input="x", service_tier="fast").request.tier == "priority"
    assert asked(input="x").request.tier is None


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": [{"type": "nonsense"}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": "x", "colour": 1}]}, "input[0].colour"),
        ({"input": [{"role": "king", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
        ({"input": [{"type": "compaction", "encrypted_content": "??"}]}, "input[0].encrypted_content"),
        ({"input": [{"type": "function_call", "name": "x", "arguments": "{}"}]}, "input[0].call_id"),
        ({"tools": [{"type": "mcp"}]}, "tools[0].type"),
        ({"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "x"}]}]}, "tools[0].tools[0].type"),
        ({"tools": [{**PATCH, "format": {"type": "grammar", "syntax": "lark"}}]}, "tools[0].format.definition"),
        (
            {"tools": [{**PATCH, "format": {"type": "grammar", "syntax": "lark", "definition": "start: nope"}}]},
            "tools[0].format.definition",
        ),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": "perhaps"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "name": "nobody"}}, "tool_choice"),
        ({"include": ["file_search_call.results"]}, "include"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema"),
        ({"conversation": "c"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"modle": "x"}, "modle"),
        ({"service_tier": "gold"}, "service_tier"),
    ],
)
def test_what_cannot_be_honoured_names_its_field(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as refused:
        asked(**{"input": "x", **fields})
    assert refused.value.param == param
    assert f"`{param}`" in refused.value.message
