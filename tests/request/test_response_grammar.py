"""Answers under the grammars of tools: what may be written, token by token, and what may not."""

from typing import Any

import pytest

from firesteel.backend.scripted.tokenizer import shared_tokenizer
from firesteel.engine.constrain import Grammars
from firesteel.request.constraint import constraint_of_schema
from firesteel.request.response_grammar import answer_grammar
from firesteel.wire.response_tools import Tool, custom_call

PATCH = """
start: "*** Begin Patch" LF line+ "*** End Patch" LF?
line: "+" /(.*)/ LF
%import common.LF
"""
NUMBER: dict[str, Any] = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}
TOKENIZER = shared_tokenizer()
GRAMMARS = Grammars(TOKENIZER)


def tool(name: str, kind: Any = "function", **fields: Any) -> Tool:
    parameters = fields.pop("parameters", {"type": "object", "properties": {}})
    shown = {"type": "function", "function": {"name": name, "parameters": parameters}}
    return Tool(name=name, own_name=name, kind=kind, shown=shown, **fields)


def call(name: str, arguments: str) -> str:
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


TOOLS = [
    tool("patch", "custom", grammar=("lark", PATCH)),
    tool("note", "custom"),
    tool("add", parameters=NUMBER, strict=True),
    tool("run"),
]
ADD_FIVE = call("add", '{"n": 5}')
GOOD_PATCH = custom_call("patch", "*** Begin Patch\n+hi <b>\n*** End Patch")


def follows(grammar: str | None, text: str) -> bool:
    """Return whether `text` is a whole answer under `grammar`."""
    assert grammar is not None
    constraint = GRAMMARS.constraint(grammar)
    for token in TOKENIZER.encode(text, special=False):
        if not constraint.allows(token):
            return False
        constraint.consume(token)
    return constraint.allows(min(TOKENIZER.end_tokens))


@pytest.mark.parametrize(
    ("text", "is_good"),
    [
        ("any text\nat all", True),
        (f"first {GOOD_PATCH}\nthen {ADD_FIVE}", True),
        (custom_call("note", "whatever <b>\n"), True),
        (call("run", '{"x": 1}'), True),
        (custom_call("patch", "nonsense"), False),
        (call("add", '{"n": "five"}'), False),
        ('<tool_call>\n{"name": "patch"}\n*** Begin Patch\n+hi', False),
    ],
)
def test_free_text_with_constrained_calls(text: str, is_good: bool) -> None:
    assert follows(answer_grammar(TOOLS, choice="auto", text=None, single=False), text) == is_good


def test_without_anything_to_constrain_there_is_no_grammar() -> None:
    assert answer_grammar([tool("run")], choice="auto", text=None, single=False) is None


@pytest.mark.parametrize(
    ("choice", "single", "text", "is_good"),
    [
        ("required", False, f"{GOOD_PATCH}\n{ADD_FIVE}", True),
        ("required", True, f"{GOOD_PATCH}\n{ADD_FIVE}", False),
        ("required", False, "text", False),
        ("patch", False, GOOD_PATCH, True),
        ("patch", False, call("run", "{}"), False),
        ("run", False, call("run", "{}"), True),
    ],
)
def test_a_call_for_certain(choice: str, single: bool, text: str, is_good: bool) -> None:
    assert follows(answer_grammar(TOOLS, choice=choice, text=None, single=single), text) == is_good


@pytest.mark.parametrize(("text", "is_good"), [('{"n": 1}', True), (GOOD_PATCH, True), ("text", False)])
def test_a_schema_or_a_call(text: str, is_good: bool) -> None:
    schema = constraint_of_schema(NUMBER, "x")
    assert follows(answer_grammar(TOOLS, choice="auto", text=schema, single=False), text) == is_good
