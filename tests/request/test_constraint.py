"""`response_format` becomes a grammar that accepts what it should, or an error that names the field at fault."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firesteel.backend.scripted.tokenizer import shared_tokenizer
from firesteel.engine.constrain import Grammars
from firesteel.errors import RequestError
from firesteel.request.constraint import MAX_GRAMMAR_BYTES, constraint_of
from firesteel.wire.response_format import ResponseFormat

TOKENIZER = shared_tokenizer()
GRAMMARS = Grammars(TOKENIZER)
POINT = {
    "type": "object",
    "properties": {"x": {"type": "integer"}, "y": {"type": "number"}},
    "required": ["x", "y"],
    "additionalProperties": False,
}


def compiled(**fields: Any) -> str | None:
    return constraint_of(msgspec.convert(fields, ResponseFormat))


def of_schema(schema: object, **fields: Any) -> str:
    grammar = compiled(type="json_schema", json_schema={"name": "n", "schema": schema, **fields})
    assert grammar is not None
    return grammar


def accepts(grammar: str | None, text: str) -> bool:
    assert grammar is not None
    constraint = GRAMMARS.constraint(grammar)
    tokens = [*TOKENIZER.encode(text, special=False), *TOKENIZER.end_tokens]
    return constraint.num_valid(tokens) == len(tokens)


def refused(**fields: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        compiled(**fields)
    return caught.value


def outcome(**fields: Any) -> str | RequestError:
    try:
        return compiled(**fields) or ""
    except RequestError as error:
        return error


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-999, 999) | st.text('ab"\\ é\n', max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=2), inner, max_size=3),
    max_leaves=6,
)


def test_no_format_and_text_ask_for_nothing() -> None:
    assert constraint_of(None) is None
    assert compiled(type="text") is None


@given(st.dictionaries(st.text("abc", max_size=3), json_values, max_size=4))
def test_any_object_in_the_usual_layout_is_an_answer(value: dict[str, Any]) -> None:
    grammar = compiled(type="json_object")
    assert accepts(grammar, json.dumps(value, ensure_ascii=False))
    assert not accepts(grammar, json.dumps([value]))
    assert value == {} or not accepts(grammar, json.dumps(value, indent=1))


@given(json_values)
def test_a_constant_is_the_only_answer(value: object) -> None:
    grammar = of_schema({"const": value})
    assert accepts(grammar, json.dumps(value, ensure_ascii=False))
    assert not accepts(grammar, json.dumps([value], ensure_ascii=False))


@pytest.mark.parametrize("strict", [None, False, True])
def test_a_schema_is_obeyed_in_its_own_order_whatever_strict_says(strict: bool | None) -> None:
    grammar = of_schema(POINT, strict=strict, description="a point")
    assert accepts(grammar, '{"x": 1, "y": 2.5}')
    for text in ('{"x": 1}', '{"y": 2.5, "x": 1}', '{"x":1,"y":2.5}', '{"x": 1.5, "y": 2}', '{"x": 1, "y": 2, "z": 3}'):
        assert not accepts(grammar, text)


def test_a_schema_cannot_change_the_layout() -> None:
    with pytest.raises(RequestError, match="one layout") as caught:
        of_schema({**POINT, "x-guidance": {"whitespace_flexible": True}})
    assert caught.value.param == "response_format.json_schema.schema"


def test_grammars_of_both_syntaxes() -> None:
    regex = compiled(type="grammar", syntax="regex", definition="(yes|no)/[0-9]+")
    assert accepts(regex, "yes/42")
    assert not accepts(regex, "maybe/42")
    lark = compiled(type="grammar", syntax="lark", definition='start: "<" WORD ">" // <i>\nWORD: /[a-z]+/')
    assert accepts(lark, "<abc>")
    assert not accepts(lark, "abc")


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"type": "json_schema"}, "response_format.json_schema", "missing"),
        ({"type": "json_schema", "json_schema": {}}, "response_format.json_schema.schema", "missing"),
        ({"type": "grammar", "syntax": "lark"}, "response_format.definition", "missing"),
        ({"type": "grammar", "definition": "a"}, "response_format.syntax", "missing"),
        ({"type": "text", "syntax": "lark"}, "response_format.syntax", "'text'"),
        ({"type": "json_object", "json_schema": {"schema": {}}}, "response_format.json_schema", "'json_object'"),
        ({"type": "grammar", "syntax": "regex", "definition": "a(("}, "response_format.definition", "unclosed group"),
        ({"type": "grammar", "syntax": "lark", "definition": "start: b"}, "response_format.definition", "unknown name"),
        ({"type": "grammar", "syntax": "lark", "definition": ""}, "response_format.definition", "no start rule"),
        ({"type": "grammar", "syntax": "lark", "definition": "{}"}, "response_format.definition", "cannot"),
        (
            {"type": "grammar", "syntax": "lark", "definition": 'start: "<" <|end|>'},
            "response_format.definition",
            "<…>",
        ),
        ({"type": "grammar", "syntax": "lark", "definition": "start: <[2]>"}, "response_format.definition", "<…>"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], param: str, words: str) -> None:
    error = refused(**fields)
    assert (error.param, error.status) == (param, 400)
    assert words in error.message


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(depth):
        schema = {"properties": {"a": schema}}
    return schema


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "strin"}, "strin"),
        ({"type": "object", "properties": 3}, "properties"),
        ({"type": "string", "pattern": "(?=a)"}, "look-around"),
        ({"not": {}}, '"not"'),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "Unsatisfiable"),
        ({"$ref": "https://example.org/schema"}, "example.org"),
        (nested(200), "recursion"),
        ({"enum": ["x" * MAX_GRAMMAR_BYTES]}, str(MAX_GRAMMAR_BYTES)),
    ],
)
def test_a_schema_that_cannot_be_followed(schema: dict[str, Any], words: str) -> None:
    error = refused(type="json_schema", json_schema={"name": "n", "schema": schema})
    assert error.param == "response_format.json_schema.schema"
    assert words in error.message
    assert len(error.message) < 500


KEYWORDS = st.sampled_from(
    ["type", "properties", "items", "enum", "required", "anyOf", "minItems", "pattern", "format", "$ref", "x-guidance"]
)


@settings(max_examples=60)
@given(st.dictionaries(KEYWORDS, json_values, max_size=3))
def test_any_schema_compiles_or_is_refused(schema: dict[str, Any]) -> None:
    found = outcome(type="json_schema", json_schema={"schema": schema})
    if isinstance(found, RequestError):
        assert found.param == "response_format.json_schema.schema"
    else:
        GRAMMARS.constraint(found)


@settings(max_examples=60)
@given(st.sampled_from(["lark", "regex"]), st.text('start: "a" /b/|*+?[]()<>\\{}\n%', max_size=30))
def test_any_definition_compiles_or_is_refused(syntax: str, text: str) -> None:
    for definition in (text, "start: " + text):
        found = outcome(type="grammar", syntax=syntax, definition=definition)
        if isinstance(found, RequestError):
            assert found.param == "response_format.definition"
        else:
            GRAMMARS.constraint(found)
