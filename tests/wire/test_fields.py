from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from openai.types import chat as sdk
from openai.types import completion_create_params
from openai.types.shared_params import ResponseFormatJSONObject, ResponseFormatJSONSchema, ResponseFormatText
from openai.types.shared_params.response_format_json_schema import JSONSchema

from firesteel.errors import RequestError
from firesteel.wire.fields import NOTED, REFUSED, annotations, examine, honoured
from firesteel.wire.openai_chat import ChatBody
from firesteel.wire.openai_completions import CompletionBody

CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
BODIES = (ChatBody, CompletionBody)


def chat(**fields: object) -> ChatBody:
    return msgspec.convert({**CHAT, **fields}, ChatBody)


def keys(*params: type) -> set[str]:
    return {key for param in params for key in param.__annotations__}


@pytest.mark.parametrize(
    ("params", "struct", "parent"),
    [
        ((sdk.completion_create_params.CompletionCreateParamsBase,), ChatBody, ""),
        ((completion_create_params.CompletionCreateParamsBase,), CompletionBody, ""),
        ((sdk.ChatCompletionStreamOptionsParam,), ChatBody, "stream_options"),
        ((sdk.ChatCompletionFunctionToolParam,), ChatBody, "tools"),
        (
            (
                sdk.ChatCompletionSystemMessageParam,
                sdk.ChatCompletionDeveloperMessageParam,
                sdk.ChatCompletionUserMessageParam,
                sdk.ChatCompletionAssistantMessageParam,
                sdk.ChatCompletionToolMessageParam,
            ),
            ChatBody,
            "messages",
        ),
        ((sdk.ChatCompletionMessageFunctionToolCallParam,), ChatBody, "messages.tool_calls"),
        ((sdk.ChatCompletionPredictionContentParam,), ChatBody, "prediction"),
        ((sdk.ChatCompletionContentPartTextParam,), ChatBody, "prediction.content"),
        ((ResponseFormatText, ResponseFormatJSONObject, ResponseFormatJSONSchema), ChatBody, "response_format"),
        ((JSONSchema,), CompletionBody, "response_format.json_schema"),
        (
            (
                sdk.ChatCompletionContentPartTextParam,
                sdk.ChatCompletionContentPartImageParam,
                sdk.ChatCompletionContentPartInputAudioParam,
                sdk.ChatCompletionContentPartRefusalParam,
            ),
            ChatBody,
            "messages.content",
        ),
    ],
)
def test_every_field_of_the_official_sdk_is_known(
    params: tuple[type, ...], struct: type[msgspec.Struct], parent: str
) -> None:
    known = {path.rpartition(".")[2] for path in annotations(struct) if path.rpartition(".")[0] == parent}
    assert keys(*params) <= known


def test_a_field_has_no_effect_exactly_if_it_stands_in_a_table() -> None:
    untyped = {path for body in BODIES for path, kind in annotations(body).items() if kind is Any}
    conditional = {"stream_options"}
    assert untyped == (set(NOTED) | set(REFUSED)) - conditional
    assert not set(NOTED) & set(REFUSED)


def test_honoured_fields_are_the_rest() -> None:
    for body in BODIES:
        fields = set(annotations(body))
        assert set(honoured(body)) == fields - (set(NOTED) - {"stream_options"}) - set(REFUSED)
    assert "temperature" in honoured(ChatBody)
    assert "messages.content.text" in honoured(ChatBody)


def test_noted_fields_are_named_once_and_in_order() -> None:
    body = chat(
        user="me",
        metadata={"a": "b"},
        messages=[
            {"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {"type": "x"}}]},
            {"role": "user", "content": [{"type": "text", "text": "b", "cache_control": {"type": "x"}}]},
        ],
        tools=[{"type": "function", "function": {"name": "f", "strict": True}}],
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "strict": True}},
    )
    assert sorted(examine(body)) == [
        "messages.content.cache_control",
        "metadata",
        "response_format.json_schema.name",
        "user",
    ]


def test_null_false_and_empty_fields_ask_for_nothing() -> None:
    body = chat(user=None, metadata={}, store=False, functions=[], moderation=None, service_tier=None)
    assert examine(body) == ()


@pytest.mark.parametrize("path", sorted(path for path in REFUSED if "." not in path))
def test_a_refused_field_names_itself_and_the_remedy(path: str) -> None:
    struct: type[msgspec.Struct] = ChatBody
    with pytest.raises(RequestError) as caught:
        examine(msgspec.convert({**CHAT, path: {"something": "asked"}}, struct))
    assert caught.value.param == path
    assert REFUSED[path].remedy in caught.value.message


@pytest.mark.parametrize(
    ("path", "value"), [(path, value) for path, refusal in REFUSED.items() for value in refusal.neutral]
)
def test_a_neutral_value_of_a_refused_field_is_accepted(path: str, value: object) -> None:
    assert examine(chat(**{path: value})) == ()


def test_refused_field_inside_a_message() -> None:
    message = {"role": "assistant", "content": "", "function_call": {"name": "f", "arguments": "{}"}}
    with pytest.raises(RequestError, match=r"messages\.function_call"):
        examine(chat(messages=[message]))


def structs_in(struct: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    yield struct
    for annotation in get_type_hints(struct).values():
        stack = [annotation]
        while stack:
            item = stack.pop()
            stack += get_args(item)
            if isinstance(item, type) and issubclass(item, msgspec.Struct):
                yield from structs_in(item)


@pytest.mark.parametrize("body", BODIES)
def test_no_struct_of_a_request_ignores_unknown_fields(body: type[msgspec.Struct]) -> None:
    for struct in structs_in(body):
        assert struct.__struct_config__.forbid_unknown_fields, struct
