"""The tools of a Responses request, one struct for each kind; and how a custom tool's call is written.

A function is called in the model's own syntax (`tool_calls`). A custom tool takes plain text, which JSON would
only disfigure, so that its call is a head with the name alone, the text, and the closing tag:

    <tool_call>
    {"name": "apply_patch"}
    *** Begin Patch
    …
    </tool_call>
"""

import json
from typing import Any, Literal

import msgspec

from firesteel.wire import tool_calls
from firesteel.wire.response_items import Name


class ToolFields(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What tools have in common; none of it has an effect."""

    allowed_callers: Any = None
    async_: Any = msgspec.field(default=None, name="async")
    defer_loading: Any = None


class FunctionTool(ToolFields, forbid_unknown_fields=True, kw_only=True):
    """A function. With `strict`, its arguments are constrained to `parameters`."""

    type: Literal["function"]
    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    output_schema: Any = None


class CustomFormat(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a custom tool takes: any text, or text that follows a grammar."""

    type: Literal["text", "grammar"] = "text"
    syntax: Literal["lark", "regex"] | None = None
    definition: str | None = None


class CustomTool(ToolFields, forbid_unknown_fields=True, kw_only=True):
    """A tool that takes plain text."""

    type: Literal["custom"]
    name: Name
    description: str | None = None
    format: CustomFormat | None = None


class NamespaceTool(ToolFields, forbid_unknown_fields=True, kw_only=True):
    """Tools that belong together; their calls name the namespace."""

    type: Literal["namespace"]
    name: Name
    tools: list[dict[str, Any]]
    description: str | None = None


class ToolSearchTool(ToolFields, forbid_unknown_fields=True, kw_only=True):
    """A search for more tools, which the client runs."""

    type: Literal["tool_search"]
    name: str | None = None
    description: str | None = None
    execution: str | None = None
    parameters: dict[str, Any] | None = None


TOOLS: dict[str, type[msgspec.Struct]] = {
    "function": FunctionTool,
    "custom": CustomTool,
    "namespace": NamespaceTool,
    "tool_search": ToolSearchTool,
}

UNSEEN_TOOLS = {
    "web_search": "web_search",
    "web_search_preview": "web_search",
    "web_search_2025_08_26": "web_search",
    "image_generation": "image_generation",
}
"""Tools that clients offer unasked and that the server would have to run: how `noted` names them."""


class NamedTool(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`tool_choice` that names one tool."""

    type: Literal["function", "custom"]
    name: str
    namespace: str | None = None


class AllowedTools(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`tool_choice` that leaves some of the tools only."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: list[dict[str, Any]]


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """One tool that the model may call by `name`, which is `namespace.own_name` where there is a namespace."""

    name: str
    own_name: str
    kind: Literal["function", "custom", "tool_search"]
    shown: dict[str, Any]  # as chat templates take it
    namespace: str | None = None
    strict: bool = False
    grammar: tuple[str, str] | None = None  # syntax and definition of a custom tool's text


ToolBox = dict[str, Tool]


def qualified(name: str, namespace: str | None) -> str:
    """Return the name that the model calls a tool by."""
    return f"{namespace}.{name}" if namespace else name


def find(tools: ToolBox, name: str) -> Tool | None:
    """Return the tool that a call of `name` means: small models leave the namespace out."""
    if name in tools:
        return tools[name]
    candidates = [tool for tool in tools.values() if tool.own_name == name]
    return candidates[0] if len(candidates) == 1 else None


def custom_head(name: str) -> str:
    """Return how a call of the custom tool `name` begins; its text follows."""
    return f'{tool_calls.OPEN}\n{{"name": {json.dumps(name, ensure_ascii=False)}}}\n'


def custom_call(name: str, text: str) -> str:
    """Return a whole call of the custom tool `name`."""
    return f"{custom_head(name)}{text}\n{tool_calls.CLOSE}"
