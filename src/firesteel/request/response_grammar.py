"""The grammar of an answer that may hold tool calls: free text, constrained calls, a schema, or a call for certain.

Written in llguidance's Lark. Where text is free, a call is constrained from the point on where its head is
complete; other calls, and all other text, are let through.
"""

import json
from collections.abc import Iterable
from typing import Any

import msgspec

from firesteel.request.constraint import check_grammar, json_schema_source
from firesteel.request.tool_grammar import schema_of
from firesteel.wire import tool_calls
from firesteel.wire.response_tools import Tool, custom_head

_ANY_TEXT = r"/(.|\n)*/"
_END = r"/\n?<\/tool_call>/"  # a text may end with a line break of its own


def answer_grammar(tools: Iterable[Tool], *, choice: str, text: str | None, single: bool) -> str | None:
    """Return the grammar, in llguidance's JSON form; None when there is nothing to constrain.

    `choice` is auto, required or the name of a tool; `text` is the grammar of an answer that is no call, if
    there is one; with `single` at most one call is made.
    """
    named = [tool for tool in tools if tool.name == choice]
    offered = named or list(tools)
    constrained = [tool for tool in offered if tool.kind == "custom" or tool.strict]
    if choice == "auto" and text is None:
        return _free(constrained) if constrained else None
    forced = [*offered] if (text is not None or choice == "required" or named) else []
    return _forced(forced, None if choice != "auto" else text, single=single or bool(named))


def _free(tools: list[Tool]) -> str:
    """Text, in which the calls of `tools` are constrained."""
    grammars: list[dict[str, Any]] = []
    lines = [f"start: ({' | '.join(f'tag_{i}' for i in range(len(tools)))})* TEXT", f"TEXT: {_ANY_TEXT}"]
    for i, tool in enumerate(tools):
        head, body = _head(tool), _body(tool, f"g{i}", grammars)
        lines += [f"head_{i}[lazy]: TEXT {json.dumps(head, ensure_ascii=False)}", f"tag_{i}: head_{i} {body}"]
    return _joined(lines, grammars)


def _forced(tools: list[Tool], text: str | None, *, single: bool) -> str:
    """Nothing but calls of `tools`, or else `text`."""
    grammars: list[dict[str, Any]] = []
    options = [f"tag_{i}" for i in range(len(tools))]
    calls = f"call{'' if single else f' ({json.dumps(chr(10))} call)*'}"
    start = calls if text is None else f"text | {calls}" if options else "text"
    lines = [f"start: {start}"]
    if options:
        lines.append(f"call: {' | '.join(options)}")
    for i, tool in enumerate(tools):
        head, body = _head(tool), _body(tool, f"g{i}", grammars)
        lines.append(f"tag_{i}: {json.dumps(head, ensure_ascii=False)} {body}")
    if text is not None:
        grammars.append({**json.loads(text)["grammars"][0], "name": "text"})
        lines.append("text: @text")
    return _joined(lines, grammars)


def _head(tool: Tool) -> str:
    if tool.kind == "custom":
        return custom_head(tool.name)
    return f'{tool_calls.OPEN}\n{{"name": {json.dumps(tool.name, ensure_ascii=False)}, "arguments": '


def _body(tool: Tool, name: str, grammars: list[dict[str, Any]]) -> str:
    """Return what follows the head, and add the grammar that it names to `grammars`."""
    if tool.kind != "custom":
        source = json_schema_source(schema_of(tool.shown["function"], tool.strict))
        grammars.append({**_first(source), "name": name})
        return f"@{name} {json.dumps('}')} {_END}"
    if tool.grammar is None:
        return r"/(.|\n)*?<\/tool_call>/"
    syntax, definition = tool.grammar
    grammars.append({**_first(check_grammar(syntax, definition, "tools")), "name": name})
    return f"@{name} {_END}"


def _first(grammar: str) -> dict[str, Any]:
    first: dict[str, Any] = json.loads(grammar)["grammars"][0]
    return first


def _joined(lines: list[str], grammars: list[dict[str, Any]]) -> str:
    lark = "%llguidance {}\n" + "\n".join(lines) + "\n"
    return msgspec.json.encode({"grammars": [{"name": "answer", "lark_grammar": lark}, *grammars]}).decode()
