"""The tools of a chat request → what the model is shown, what it may call, and the grammar of its answer."""

from collections.abc import Iterator
from typing import TypeVar

import msgspec

from firesteel.errors import RequestError
from firesteel.request.response_grammar import answer_grammar
from firesteel.request.response_tools import custom_tool, function_tool
from firesteel.request.tool_grammar import Tooling, tooling_of
from firesteel.types import ChatPrompt
from firesteel.wire import chat_tools as wire
from firesteel.wire import response_tools
from firesteel.wire.response_tools import Tool, ToolBox

T = TypeVar("T")


class Offer(msgspec.Struct, frozen=True):
    """The tools that may be called, and `auto`, `none`, `required` or the name of the one that must be."""

    tools: ToolBox
    choice: str

    @property
    def customs(self) -> tuple[str, ...]:
        """The names of the tools that take plain text."""
        return tuple(tool.name for tool in self.tools.values() if tool.kind == "custom")


def offer_of(tools: list[wire.Tool], choice: str | wire.ToolChoice) -> Offer:
    """Return what is on offer. Raises `RequestError` that names the field for what cannot be."""
    box = {tool.name: tool for tool in _tools(tools)}
    if isinstance(choice, str):
        if choice == "required" and not box:
            raise RequestError("`tool_choice`: 'required' needs at least one tool; send `tools`", param="tool_choice")
        return Offer(box, choice)
    if choice.type == "allowed_tools":
        return _allowed(box, present(choice.allowed_tools, "tool_choice.allowed_tools"))
    return Offer(box, _named(box, choice, "tool_choice"))


def _tools(tools: list[wire.Tool]) -> Iterator[Tool]:
    seen: set[str] = set()
    for i, tool in enumerate(tools):
        path = f"tools[{i}].{tool.type}"
        read = _function(tool, path) if tool.type == "function" else _custom(tool, path)
        if read.name in seen:
            message = f"`{path}.name`: {read.name!r} is taken; give every tool its own name"
            raise RequestError(message, param=f"{path}.name")
        if read.name in ("auto", "none", "required") or not read.name.isprintable():
            message = f"`{path}.name`: a tool cannot be called {read.name!r}; rename it"
            raise RequestError(message, param=f"{path}.name")
        seen.add(read.name)
        yield read


def _function(tool: wire.Tool, path: str) -> Tool:
    function = present(tool.function, path)
    fields = (function.name, function.description, function.parameters, function.strict)
    name, description, parameters, strict = fields
    return function_tool(
        response_tools.FunctionTool(
            type="function", name=name, description=description, parameters=parameters, strict=strict
        )
    )


def _custom(tool: wire.Tool, path: str) -> Tool:
    custom = present(tool.custom, path)
    form = None
    if custom.format is not None and custom.format.type == "grammar":
        grammar = present(custom.format.grammar, f"{path}.format.grammar")
        form = response_tools.CustomFormat(type="grammar", syntax=grammar.syntax, definition=grammar.definition)
    read = response_tools.CustomTool(type="custom", name=custom.name, description=custom.description, format=form)
    return custom_tool(read, f"{path}.format.grammar")


def present(value: T | None, path: str) -> T:
    """Return `value`. Raises `RequestError` when it is missing."""
    if value is None:
        raise RequestError(f"`{path}` is missing; send it", param=path, code="missing_required_parameter")
    return value


def _named(box: ToolBox, choice: wire.ToolChoice | wire.NamedToolOfType, path: str) -> str:
    path = f"{path}.{choice.type}"
    named = present(choice.function if choice.type == "function" else choice.custom, path)
    tool = box.get(named.name)
    if tool is None or tool.kind != choice.type:
        message = f"`{path}.name`: there is no tool {named.name!r} of this type; name one of `tools`"
        raise RequestError(message, param=f"{path}.name")
    return tool.name


def _allowed(box: ToolBox, allowed: wire.AllowedTools) -> Offer:
    path = "tool_choice.allowed_tools.tools"
    names = [_named(box, tool, f"{path}[{i}]") for i, tool in enumerate(allowed.tools)]
    if allowed.mode == "required" and not names:
        raise RequestError(f"`{path}` is empty; name at least one tool", param=path)
    return Offer({name: box[name] for name in names}, allowed.mode)


def tooling(offer: Offer, prompt: ChatPrompt, answer: str | None, *, single: bool) -> Tooling:
    """Return the grammar of an answer; `answer` is the one of an answer that is no call, if there is one."""
    if offer.customs and offer.choice != "none":
        tools = offer.tools.values()
        return Tooling(answer_grammar(tools, choice=offer.choice, text=answer, single=single))
    strict = [tool.name for tool in offer.tools.values() if tool.strict]
    return tooling_of(prompt, strict=strict, answer=answer, single=single)
