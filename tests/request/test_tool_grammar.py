"""Tools become a grammar that accepts the calls that are wanted, and no others."""

import json
from typing import Any

import pytest

from firesteel.backend.scripted.tokenizer import shared_tokenizer
from firesteel.engine.constrain import Grammars
from firesteel.errors import RequestError
from firesteel.request.constraint import constraint_of
from firesteel.request.tool_grammar import MAX_SCHEMAS_BYTES, NOT_FOLLOWED, Tooling, tooling_of
from firesteel.types import ChatPrompt, Message
from firesteel.wire.response_format import JsonSchemaFormat, ResponseFormat
from firesteel.wire.tool_calls import CallArguments, CallBegin, ToolCallParser

TOKENIZER = shared_tokenizer()
GRAMMARS = Grammars(TOKENIZER)
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
IMPOSSIBLE = {"type": "object", "properties": {"x": {"not": {"type": "string"}}}}
OSLO, ANY = '{"city": "Oslo"}', '{"x": [1]}'


def tool(name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


WEATHER, TIME, ODD = tool("weather", CITY), tool("time", {}), tool('odd "name"', CITY)
ANSWER = constraint_of(ResponseFormat(type="json_schema", json_schema=JsonSchemaFormat(schema=CITY)))


def tooling(*tools: dict[str, Any], choice: str = "auto", **options: Any) -> Tooling:
    prompt = ChatPrompt(messages=(Message(role="user", content="hi"),), tools=tools, tool_choice=choice)
    return tooling_of(prompt, **options)


def call(name: str, arguments: str) -> str:
    return f'<tool_call>\n{{"name": {json.dumps(name)}, "arguments": {arguments}}}\n</tool_call>'


def accepts(made: Tooling, text: str) -> bool:
    assert made.constraint is not None
    tokens = [*TOKENIZER.encode(text, special=False), *TOKENIZER.end_tokens]
    return GRAMMARS.constraint(made.constraint).num_valid(tokens) == len(tokens)


def test_without_a_wish_there_is_no_grammar() -> None:
    assert tooling(WEATHER) == tooling() == tooling(WEATHER, choice="none") == Tooling()
    assert tooling(WEATHER, choice="none", answer=ANSWER) == Tooling(ANSWER)
    assert tooling(answer=ANSWER) == Tooling(ANSWER)


def test_required_is_calls_of_any_tool_and_nothing_else() -> None:
    made = tooling(WEATHER, TIME, choice="required")
    assert accepts(made, call("weather", OSLO))
    assert accepts(made, call("time", ANY))
    assert accepts(made, call("time", "{}") + "\n" + call("weather", OSLO))
    for wrong in ("", "hi", call("weather", ANY), call("other", OSLO), call("weather", OSLO) + " ok"):
        assert not accepts(made, wrong)


def test_a_single_call_is_not_followed_by_another() -> None:
    made = tooling(WEATHER, choice="required", single=True)
    assert accepts(made, call("weather", OSLO))
    assert not accepts(made, call("weather", OSLO) + "\n" + call("weather", OSLO))


@pytest.mark.parametrize("offered", [WEATHER, ODD])
def test_a_named_tool_is_called_once(offered: dict[str, Any]) -> None:
    name = offered["function"]["name"]
    made = tooling(TIME, offered, choice=name)
    assert accepts(made, call(name, OSLO))
    for wrong in (call("time", "{}"), call(name, ANY), call(name, OSLO) * 2):
        assert not accepts(made, wrong)
    begin, arguments = ToolCallParser().feed(call(name, OSLO))
    assert begin == CallBegin(0, "call_0", name)
    assert arguments == CallArguments(0, OSLO)


def test_with_a_response_format_the_answer_is_calls_or_follows_it() -> None:
    made = tooling(WEATHER, answer=ANSWER)
    assert accepts(made, OSLO)
    assert accepts(made, call("weather", OSLO))
    for wrong in ("hi", ANY, "Look: " + call("weather", OSLO), call("weather", OSLO) + OSLO):
        assert not accepts(made, wrong)
    assert not accepts(tooling(WEATHER, answer=ANSWER, choice="required"), OSLO)


def test_a_strict_tool_is_called_by_its_schema_in_any_text() -> None:
    made = tooling(WEATHER, strict=["weather"])
    for right in ("", "hi <b> <tool_", f"I look.\n{call('weather', OSLO)}\nand {call('weather', OSLO)}"):
        assert accepts(made, right)
    for wrong in (call("weather", ANY), call("other", OSLO), "<tool_call>"):
        assert not accepts(made, wrong)


def test_a_schema_that_cannot_be_followed_is_noted_or_refused() -> None:
    made = tooling(tool("f", IMPOSSIBLE), WEATHER, choice="required")
    assert made.noted == (NOT_FOLLOWED,)
    assert accepts(made, call("f", ANY))
    assert not accepts(made, call("weather", ANY))
    with pytest.raises(RequestError, match="'f' cannot be followed") as caught:
        tooling(tool("f", IMPOSSIBLE), strict=["f"])
    assert caught.value.param == "tools"


def test_many_large_schemas_are_any_object_unless_they_are_strict() -> None:
    large = {"type": "object", "properties": {f"key_{i}": {"type": "string"} for i in range(600)}}
    tools = [tool(f"t{i}", large) for i in range(2 + MAX_SCHEMAS_BYTES // len(json.dumps(large)))]
    made = tooling(*tools, WEATHER, choice="required", strict=["weather"])
    assert made.noted == (NOT_FOLLOWED,)
    assert accepts(made, call("t0", '{"key_0": 1}'))
    assert not accepts(made, call("weather", ANY))
