"""Tools, and what the answer must look like → one grammar: which calls, with which arguments, around which text.

    required, or a tool by name    calls only
    auto, with `response_format`   calls only, or an answer that follows the format
    auto, with a strict tool       any text with calls in it
    auto                           no grammar: nothing is masked

The calls are written as `wire/tool_calls.py` reads them.
"""

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from firesteel.errors import RequestError
from firesteel.request.constraint import ANY_OBJECT, MAX_GRAMMAR_BYTES, checked, json_schema_source
from firesteel.types import ChatPrompt
from firesteel.wire.tool_calls import CLOSE, OPEN

MAX_SCHEMAS_BYTES = 2 * MAX_GRAMMAR_BYTES  # of all tools together
NOT_FOLLOWED = "tools.function.parameters"
"""How `firesteel.noted` names arguments that are any object, because their schema cannot be followed."""

_RULES = {
    "calls": 'start: call ("\\n" call)*\n',
    "call": "start: call\n",
    "calls or answer": 'start: call ("\\n" call)* | @answer\n',
    "call or answer": "start: call | @answer\n",
    "text": f"start: tagged* TEXT\ntagged: trigger body\ntrigger[lazy]: TEXT {json.dumps(OPEN)}\nTEXT: /(.|\\n)*/\n",
}


class Tooling(msgspec.Struct, frozen=True):
    """The grammar of an answer, if any, and the fields that it could not follow."""

    constraint: str | None = None
    noted: tuple[str, ...] = ()


def tooling_of(
    prompt: ChatPrompt, *, strict: Sequence[str] = (), answer: str | None = None, single: bool = False
) -> Tooling:
    """Return the grammar for an answer to `prompt` by its `tool_choice`.

    `strict` names the tools whose schema must be followed, `answer` is the grammar of an answer without calls
    (`constraint_of`), with `single` there is one call at most. Raises `RequestError` for a strict tool whose
    schema cannot be followed.
    """
    choice = prompt.tool_choice
    offered = [tool["function"] for tool in prompt.tools if choice in ("auto", "required", tool["function"]["name"])]
    if choice == "none" or not offered:
        return Tooling(answer)
    if choice == "auto" and answer is None and not strict:
        return Tooling()
    schemas = [schema_of(tool, tool["name"] in strict) for tool in offered]
    if sum(map(len, schemas)) > MAX_SCHEMAS_BYTES:
        pairs = zip(offered, schemas, strict=True)
        schemas = [schema if tool["name"] in strict else ANY_OBJECT for tool, schema in pairs]
    is_any = any(schema is ANY_OBJECT for schema in schemas)
    rule = _rule(choice, answer, single)
    return Tooling(_grammar(rule, [tool["name"] for tool in offered], schemas, answer), (NOT_FOLLOWED,) * is_any)


def _rule(choice: str, answer: str | None, single: bool) -> str:
    calls = "call" if single or choice not in ("auto", "required") else "calls"
    if choice != "auto":
        return calls
    return "text" if answer is None else f"{calls} or answer"


def schema_of(tool: dict[str, Any], is_strict: bool) -> bytes:
    """Return the JSON schema of a tool's arguments; any object where it cannot be followed and need not be."""
    schema = msgspec.json.encode({"type": "object", **tool["parameters"]})
    fault = ""
    if len(schema) > MAX_GRAMMAR_BYTES:
        fault = f"it has {len(schema)} bytes and may have {MAX_GRAMMAR_BYTES}"
    elif "x-guidance" in tool["parameters"]:
        fault = "`x-guidance` asks for another layout"
    else:
        fault = checked("json_schema", schema.decode())[1]
    if not fault:
        return schema
    if is_strict:
        message = (
            f"`tools`: the schema of {tool['name']!r} cannot be followed: {fault}; change that part or do not "
            "ask for `strict`"
        )
        raise RequestError(message, param="tools")
    return ANY_OBJECT


def _grammar(rule: str, names: list[str], schemas: list[bytes], answer: str | None) -> str:
    """Return the grammar in llguidance's JSON form: the rule, a grammar for each tool's arguments, the answer's."""
    heads = [json.dumps(f'{json.dumps(name, ensure_ascii=False)}, "arguments": ') for name in names]
    one = " | ".join(f"{head} @arguments_{i}" for i, head in enumerate(heads))
    before, after = json.dumps('\n{"name": '), json.dumps(f"}}\n{CLOSE}")
    main = f"{_RULES[rule]}call: {json.dumps(OPEN)} body\nbody: {before} one {after}\none: {one}\n"
    grammars = [{"name": "main", "lark_grammar": main}]
    grammars += [_named(f"arguments_{i}", json_schema_source(schema)) for i, schema in enumerate(schemas)]
    if answer is not None and "answer" in rule:
        grammars.append(_named("answer", answer))
    return json.dumps({"grammars": grammars})


def _named(name: str, grammar: str) -> dict[str, Any]:
    """Return the only part of `grammar` under a name."""
    (part,) = json.loads(grammar)["grammars"]
    return {**part, "name": name}
