"""Tools and their calls in chat completions: in the request, in the history, in the answer and its chunks.

Every struct has a `type`, and the field that is called like it.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

Name = Annotated[str, Meta(min_length=1, max_length=256)]


class FunctionTool(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a tool is called, what it does, and the JSON schema of its arguments."""

    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Grammar(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A grammar that a custom tool's text follows."""

    syntax: Literal["lark", "regex"]
    definition: str


class CustomFormat(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a custom tool takes: any text, or text that follows a grammar."""

    type: Literal["text", "grammar"]
    grammar: Grammar | None = None


class CustomTool(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A tool that takes plain text."""

    name: Name
    description: str | None = None
    format: CustomFormat | None = None


class Tool(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A tool that the model may call."""

    type: Literal["function", "custom"]
    function: FunctionTool | None = None
    custom: CustomTool | None = None
    cache_control: Any = None


class NamedTool(msgspec.Struct, forbid_unknown_fields=True):
    """The name of a tool."""

    name: str


class NamedToolOfType(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The name of a tool, and its kind."""

    type: Literal["function", "custom"]
    function: NamedTool | None = None
    custom: NamedTool | None = None


class AllowedTools(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Some of the tools, and whether one of them must be called."""

    mode: Literal["auto", "required"]
    tools: list[NamedToolOfType]


class ToolChoice(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`tool_choice` that names the one tool to be called, or leaves some of the tools only."""

    type: Literal["function", "custom", "allowed_tools"]
    function: NamedTool | None = None
    custom: NamedTool | None = None
    allowed_tools: AllowedTools | None = None


class FunctionCall(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Name and arguments (a JSON text) of one call."""

    name: str
    arguments: str


class CustomCall(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Name and text of a call of a custom tool."""

    name: str
    input: str


class ToolCall(msgspec.Struct, kw_only=True):
    """One call in our response."""

    id: str
    type: Literal["function", "custom"] = "function"
    function: FunctionCall | UnsetType = UNSET
    custom: CustomCall | UnsetType = UNSET


class HistoryFunctionCall(FunctionCall, forbid_unknown_fields=True, kw_only=True):
    """A call's name and arguments in the history; the SDK's stream helper leaves its parsed copy in."""

    parsed_arguments: Any = None


class HistoryToolCall(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A call in the history; clients that put it together from a stream leave its `index` in."""

    id: str
    type: Literal["function", "custom"] = "function"
    function: HistoryFunctionCall | None = None
    custom: CustomCall | None = None
    index: Any = None


class FunctionDelta(msgspec.Struct, kw_only=True):
    """A piece of a call."""

    name: str | UnsetType = UNSET
    arguments: str


class CustomDelta(msgspec.Struct, kw_only=True):
    """A piece of a call of a custom tool."""

    name: str | UnsetType = UNSET
    input: str


class ToolCallDelta(msgspec.Struct, kw_only=True):
    """A piece of call number `index`; only the first piece has an id, a type and a name."""

    index: int
    id: str | UnsetType = UNSET
    type: Literal["function", "custom"] | UnsetType = UNSET
    function: FunctionDelta | UnsetType = UNSET
    custom: CustomDelta | UnsetType = UNSET
