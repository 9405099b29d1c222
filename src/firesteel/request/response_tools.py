"""The tools of a Responses request → what the model is shown, and what its calls are called in return."""

from collections.abc import Callable
from typing import Any

from firesteel.errors import RequestError
from firesteel.request.constraint import check_grammar
from firesteel.wire.decode import convert
from firesteel.wire.openai_responses import Item
from firesteel.wire.response_tools import (
    TOOLS,
    UNSEEN_TOOLS,
    CustomTool,
    FunctionTool,
    NamespaceTool,
    Tool,
    ToolBox,
    ToolSearchTool,
    custom_call,
    qualified,
)

Note = Callable[[str], None]

ANY_OBJECT: dict[str, Any] = {"type": "object", "properties": {}}
SEARCH_PARAMETERS = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}
SEARCH_DESCRIPTION = "Search for more tools by what they do."


def tools_of(tools: list[Item], path: str, note: Note) -> tuple[Tool, ...]:
    """Return the tools in `tools`, which stand at `path`; those that only a server could run are noted.

    Raises `RequestError` for a kind that cannot be honoured, and for a grammar that cannot be followed.
    """
    found: list[Tool] = []
    for index, tool in enumerate(tools):
        found += _read(tool, f"{path}[{index}]", None, note)
    return tuple(found)


def _read(tool: Item, path: str, namespace: str | None, note: Note) -> list[Tool]:
    kind = tool.get("type")
    if kind in UNSEEN_TOOLS:
        note(f"tools.{UNSEEN_TOOLS[kind]}")
        return []
    if not isinstance(kind, str) or kind not in TOOLS:
        known = ", ".join(map(repr, TOOLS))
        message = f"`{path}.type`: a tool of type {kind!r} cannot be run here; send tools of the types {known}"
        raise RequestError(message, param=f"{path}.type")
    read = convert(tool, TOOLS[kind], path)
    if isinstance(read, NamespaceTool):
        inside = enumerate(read.tools)
        return [found for i, inner in inside for found in _read(inner, f"{path}.tools[{i}]", read.name, note)]
    if isinstance(read, FunctionTool):
        return [function_tool(read, namespace)]
    if isinstance(read, CustomTool):
        return [custom_tool(read, f"{path}.format", namespace)]
    assert isinstance(read, ToolSearchTool)
    return [_search(read)]


def _shown(name: str, description: str | None, parameters: dict[str, Any]) -> dict[str, Any]:
    function: dict[str, Any] = {"name": name}
    if description is not None:
        function["description"] = description
    return {"type": "function", "function": {**function, "parameters": parameters}}


def function_tool(tool: FunctionTool, namespace: str | None = None) -> Tool:
    """Return a function as the model is shown it."""
    name = qualified(tool.name, namespace)
    return Tool(
        name=name,
        own_name=tool.name,
        kind="function",
        shown=_shown(name, tool.description, tool.parameters or ANY_OBJECT),
        namespace=namespace,
        strict=bool(tool.strict and tool.parameters),
    )


def custom_tool(tool: CustomTool, path: str, namespace: str | None = None) -> Tool:
    """Return a custom tool, whose format stands at `path`, as the model is shown it: no template knows such tools.

    Raises `RequestError` for a grammar that is not complete, or cannot be followed.
    """
    name, grammar = qualified(tool.name, namespace), None
    how = f"It takes plain text instead of JSON. Call it exactly like this:\n{custom_call(name, 'TEXT')}"
    if tool.format is not None and tool.format.type == "grammar":
        syntax, definition = tool.format.syntax, tool.format.definition
        if syntax is None or definition is None:
            missing = f"{path}.{'syntax' if syntax is None else 'definition'}"
            raise RequestError(f"`{missing}` is missing; send it", param=missing, code="missing_required_parameter")
        check_grammar(syntax, definition, f"{path}.definition")
        grammar = (syntax, definition)
        how += f"\nTEXT must follow this {syntax} grammar:\n{definition}"
    description = f"{tool.description}\n{how}" if tool.description else how
    shown = _shown(name, description, ANY_OBJECT)
    return Tool(name=name, own_name=tool.name, kind="custom", shown=shown, namespace=namespace, grammar=grammar)


def _search(tool: ToolSearchTool) -> Tool:
    description = tool.description or SEARCH_DESCRIPTION
    shown = _shown("tool_search", description, tool.parameters or SEARCH_PARAMETERS)
    return Tool(name="tool_search", own_name="tool_search", kind="tool_search", shown=shown)


def box(tools: tuple[Tool, ...]) -> ToolBox:
    """Return `tools` by name; of two with one name, the later one counts. Also by their own names where clear.

    Raises `RequestError` for a name that could not be chosen.
    """
    named = {tool.name: tool for tool in tools}
    for name in named:
        if name in ("auto", "none", "required") or not name.isprintable():
            raise RequestError(f"`tools`: a tool cannot be called {name!r}; rename it", param="tools")
    return named
