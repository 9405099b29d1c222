"""`response_format` → the grammar that an answer must follow, in llguidance's JSON form."""

import re
from functools import lru_cache
from typing import Any

import msgspec

from firesteel.errors import RequestError
from firesteel.wire.response_format import ResponseFormat

MAX_GRAMMAR_BYTES = 32_768  # checking the worst schema of this size holds up the event loop for some 70 ms
MAX_REASON = 300  # characters of llguidance's own words in an error

# One layout, the one that models write, and no choice of white space: keys and punctuation then cost no step.
_ITEM_SEPARATOR, _KEY_SEPARATOR = ", ", ": "
ANY_OBJECT = b'{"type":"object"}'
_FIELDS = {"text": (), "json_object": (), "json_schema": ("json_schema",), "grammar": ("syntax", "definition")}
_LARK_LITERAL = re.compile(r'"(?:\\.|[^"\\\n])*"|//[^\n]*|#[^\n]*|/(?:\\.|[^/\\\n])+/')


def constraint_of(response_format: ResponseFormat | None) -> str | None:
    """Return the grammar that `response_format` asks for, if any, checked as far as can be without a tokenizer.

    Raises `RequestError` that names the field at fault, with the reason.
    """
    if response_format is None:
        return None
    _check_fields(response_format)
    if response_format.type == "json_object":
        return json_object_grammar("response_format")
    if response_format.json_schema is not None:
        given = response_format.json_schema
        path = "response_format.json_schema.schema"
        if given.schema is None:
            raise _missing(path)
        return constraint_of_schema(given.schema, path)
    if response_format.syntax is not None and response_format.definition is not None:
        return check_grammar(response_format.syntax, response_format.definition, "response_format.definition")
    return None


def _check_fields(response_format: ResponseFormat) -> None:
    """Refuse fields of another type, and miss those of this one."""
    kind = response_format.type
    for name in ("json_schema", "syntax", "definition"):
        path = f"response_format.{name}"
        is_there = getattr(response_format, name) is not None
        if is_there and name not in _FIELDS[kind]:
            raise RequestError(f"`{path}` does not belong to the type {kind!r}; remove it", param=path)
        if not is_there and name in _FIELDS[kind]:
            raise _missing(path)


def constraint_of_schema(schema: dict[str, Any], path: str) -> str:
    """Return the grammar of JSON that obeys `schema`. Raises `RequestError` that names the field `path`."""
    if "x-guidance" in schema:
        raise RequestError(f"`{path}.x-guidance` cannot be honoured: there is one layout; remove it", param=path)
    return _compiled("json_schema", msgspec.json.encode(schema), path)


def json_object_grammar(path: str) -> str:
    """Return the grammar of any JSON object."""
    return _compiled("json_schema", ANY_OBJECT, path)


def check_grammar(syntax: str, definition: str, path: str) -> str:
    """Return the grammar `definition` in llguidance's form. Raises `RequestError` that names `path`."""
    if syntax == "lark" and "<" in _LARK_LITERAL.sub("", definition):
        message = f"`{path}`: control tokens (`<…>`) cannot be named; the answer ends where the grammar does"
        raise RequestError(message, param=path)
    return _compiled(syntax, definition.encode("utf-8", "replace"), path)


def _missing(path: str) -> RequestError:
    return RequestError(f"`{path}` is missing; send it", param=path, code="missing_required_parameter")


def _compiled(syntax: str, source: bytes, path: str) -> str:
    if len(source) > MAX_GRAMMAR_BYTES:
        message = f"`{path}` has {len(source)} bytes and may have {MAX_GRAMMAR_BYTES}; send a smaller one"
        raise RequestError(message, param=path)
    grammar, fault = checked(syntax, source.decode())
    if fault:
        raise RequestError(f"`{path}` cannot be followed: {fault}; change or remove that part", param=path)
    return grammar


@lru_cache(maxsize=256)
def checked(syntax: str, source: str) -> tuple[str, str]:
    """Return the grammar and what is wrong with it, which is empty for a good one; clients repeat their schemas."""
    from llguidance import LLMatcher  # 150 ms of import, for requests that need it

    try:
        grammar = _grammar(syntax, source)
    except ValueError as error:  # nested too deeply
        return "", str(error)
    is_wrong, reasons = LLMatcher.validate_grammar_with_warnings(grammar)
    return grammar, " ".join(reasons[0].split())[:MAX_REASON] if is_wrong else ""


def _grammar(syntax: str, source: str) -> str:
    from llguidance import LLMatcher

    if syntax == "regex":
        return LLMatcher.grammar_from_regex(source)
    if syntax == "lark":
        return msgspec.json.encode({"grammars": [{"lark_grammar": source}]}).decode()
    return json_schema_source(source.encode())


def json_schema_source(schema: bytes) -> str:
    """Return the grammar of JSON that obeys `schema`, in the one layout. Raises ValueError for what is no JSON."""
    from llguidance import LLMatcher

    return LLMatcher.grammar_from_json_schema(
        schema.decode(),
        overrides={
            "whitespace_flexible": False,
            "whitespace_pattern": None,
            "item_separator": _ITEM_SEPARATOR,
            "key_separator": _KEY_SEPARATOR,
        },
    )
