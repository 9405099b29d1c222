"""Tool calls of the scripted model: which tool, and arguments that its schema accepts."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firesteel.backend.scripted.tools import call_text, choose_tool, example

Schema = dict[str, Any]


def accepts(schema: Schema, value: object, root: Schema) -> bool:
    """A validator for the part of JSON schema that is drawn below, written apart from the generator."""
    if "$ref" in schema:
        return accepts(root["$defs"][schema["$ref"].rpartition("/")[2]], value, root)
    if "anyOf" in schema:
        return any(accepts(option, value, root) for option in schema["anyOf"])
    if "const" in schema or "enum" in schema:
        return value in schema.get("enum", [schema.get("const")])
    match schema["type"]:
        case "object":
            return isinstance(value, dict) and all(
                key in value and accepts(schema["properties"][key], value[key], root) for key in schema["required"]
            )
        case "array":
            items = isinstance(value, list) and all(accepts(schema["items"], item, root) for item in value)
            return items and len(value) >= schema["minItems"]  # type: ignore[arg-type]
        case "string":
            return isinstance(value, str) and schema["minLength"] <= len(value) <= schema["maxLength"]
        case "boolean":
            return isinstance(value, bool)
        case "null":
            return value is None
    assert isinstance(value, int if schema["type"] == "integer" else int | float)
    above = value > schema["exclusiveMinimum"] if "exclusiveMinimum" in schema else True
    below = value < schema["exclusiveMaximum"] if "exclusiveMaximum" in schema else True
    inside = schema.get("minimum", value) <= value <= schema.get("maximum", value)
    aligned = "multipleOf" not in schema or value % schema["multipleOf"] == 0
    return above and below and inside and aligned


def bounds(draw: st.DrawFn) -> Schema:
    """Bounds with at least one integer strictly between them."""
    low = draw(st.integers(-50, 50))
    high = low + draw(st.integers(2, 60))
    schema: Schema = {}
    if draw(st.booleans()):
        schema[draw(st.sampled_from(["minimum", "exclusiveMinimum"]))] = low
    if draw(st.booleans()):
        schema[draw(st.sampled_from(["maximum", "exclusiveMaximum"]))] = high
    return schema


@st.composite
def numbers(draw: st.DrawFn) -> Schema:
    kind = draw(st.sampled_from(["integer", "number"]))
    if draw(st.booleans()):
        return {"type": kind, **bounds(draw)}
    low = draw(st.integers(-50, 50))
    step = draw(st.integers(1, 9))
    return {"type": kind, "minimum": low, "maximum": low + step, "multipleOf": step}


@st.composite
def strings(draw: st.DrawFn) -> Schema:
    low = draw(st.integers(0, 20))
    return {"type": "string", "format": "date", "minLength": low, "maxLength": low + draw(st.integers(0, 20))}


def nested(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    properties = st.dictionaries(st.text(max_size=5), inner, max_size=4)
    objects = properties.flatmap(
        lambda found: (
            st.lists(st.sampled_from(sorted(found)), unique=True).map(
                lambda required: {"type": "object", "properties": found, "required": required}
            )
            if found
            else st.just({"type": "object", "properties": {}, "required": []})
        )
    )
    arrays = st.builds(
        lambda items, size: {"type": "array", "items": items, "minItems": size}, inner, st.integers(0, 3)
    )
    unions = st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": options})
    return objects | arrays | unions


leaves = (
    numbers()
    | strings()
    | st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"$ref": "#/$defs/part"}])
    | st.text().map(lambda value: {"const": value})
    | st.lists(st.integers(), min_size=1).map(lambda values: {"enum": values})
)
schemas = st.recursive(leaves, nested, max_leaves=12)
plain = st.recursive(leaves.filter(lambda schema: "$ref" not in schema), nested, max_leaves=4)


@settings(max_examples=300)
@given(schemas, plain)
def test_arguments_are_valid_under_any_schema(schema: Schema, part: Schema) -> None:
    root = {"type": "object", "properties": {"x": schema}, "required": ["x"], "$defs": {"part": part}}
    value = example(root)
    assert accepts(root, value, root), value
    assert example(root) == value


@given(schemas, plain)
def test_a_call_is_json_between_its_tags(schema: Schema, part: Schema) -> None:
    parameters = {"type": "object", "properties": {"x": schema}, "required": ["x"], "$defs": {"part": part}}
    text = call_text({"name": "do", "parameters": parameters})
    body = text.removeprefix("<tool_call>\n").removesuffix("\n</tool_call>")
    assert json.loads(body) == {"name": "do", "arguments": example(parameters)}
    assert body.startswith('{"name": "do", "arguments": {')


def test_a_schema_that_needs_itself_comes_to_an_end() -> None:
    part = {"type": "object", "properties": {"next": {"$ref": "#/$defs/part"}}, "required": ["next"]}
    assert isinstance(example({"$ref": "#/$defs/part", "$defs": {"part": part}}), dict)


def test_tools_without_a_schema_get_no_arguments() -> None:
    assert call_text({"name": "ping"}) == '<tool_call>\n{"name": "ping", "arguments": {}}\n</tool_call>'


WEATHER = {
    "type": "function",
    "function": {"name": "get_weather", "description": "Current weather of a city"},
}
CLOCK = {"name": "currentTime", "description": "Tells the hour"}


@pytest.mark.parametrize(
    ("choice", "text", "answered", "expected"),
    [
        ("auto", "How is the weather in Rome?", False, "get_weather"),
        ("auto", "What time is it?", False, "currentTime"),
        (None, "Which cities are large, and what is the hour?", False, "currentTime"),
        ("auto", "How is the weather in Rome?", True, None),
        ("auto", "Write a function that adds two numbers.", False, None),
        ("none", "How is the weather in Rome?", False, None),
        ("required", "Hello", False, "get_weather"),
        ("required", "What time is it?", True, "currentTime"),
        ("currentTime", "How is the weather in Rome?", True, "currentTime"),
    ],
)
def test_the_tool_is_chosen_by_choice_or_by_purpose(
    choice: str | None, text: str, answered: bool, expected: str | None
) -> None:
    function = choose_tool([WEATHER, CLOCK], choice, text, answered=answered)
    assert (function and function["name"]) == expected


def test_nothing_is_called_when_nothing_is_offered() -> None:
    assert choose_tool([], "required", "weather", answered=False) is None
