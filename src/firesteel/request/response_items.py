"""The items of a Responses conversation → messages, and the tools that come with them.

`Transcript` is an immutable fold: what a conversation said so far is read once, and each turn adds to it.
"""

import base64
import binascii
import json
from collections.abc import Callable
from typing import Any

import msgspec

from firesteel.errors import RequestError
from firesteel.request.response_tools import tools_of
from firesteel.types import Message
from firesteel.wire.decode import convert
from firesteel.wire.openai_responses import Item
from firesteel.wire.response_items import (
    ITEMS,
    UNSEEN,
    AdditionalTools,
    CallOutput,
    CompactionIn,
    CustomCallIn,
    FunctionCallIn,
    MessageItem,
    Part,
    ToolSearchCallIn,
    ToolSearchOutput,
)
from firesteel.wire.response_tools import Tool, custom_call, qualified

_LEFT_OUT = {"input_image": "An image", "input_audio": "An audio clip", "input_file": "A file"}
_COMPACTED = "What was said before, in short:\n"


class Transcript(msgspec.Struct, frozen=True):
    """What was said so far, as messages, and the tools that items brought along."""

    messages: tuple[Message, ...] = ()
    tools: tuple[Tool, ...] = ()

    def extended(self, items: list[Item], note: Callable[[str], None], path: str = "input") -> "Transcript":
        """Return this transcript followed by `items`, which stand at `path`.

        Raises `RequestError` that names the item at fault. Items that the model is not shown are noted.
        """
        messages, tools = list(self.messages), list(self.tools)
        for index, item in enumerate(items):
            place = f"{path}[{index}]"
            read = _read(item, place)
            if read is None:
                note(f"input.{item['type']}")
            elif isinstance(read, AdditionalTools | ToolSearchOutput):
                tools += tools_of(read.tools, f"{place}.tools", note)
                if isinstance(read, ToolSearchOutput):
                    names = ", ".join(str(tool.get("name")) for tool in read.tools)
                    messages.append(_output(read.call_id, f"These tools can be called now: {names or 'none'}"))
            else:
                _add(messages, read, place, note)
        return Transcript(tuple(messages), tuple(tools))

    def said(self, items: list[Item]) -> "Transcript":
        """Return this transcript followed by our own output `items`, which have no faults."""
        return self.extended(items, lambda _: None)


def user_items(text: str | list[Item]) -> list[Item]:
    """Return `input`, which may be the text of one user message, as items."""
    if isinstance(text, str):
        return [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}]
    return text


def _read(item: Item, path: str) -> msgspec.Struct | None:
    """Return `item` as its struct; None for one that the model is not shown."""
    kind = item.get("type", "message")
    if kind in UNSEEN:
        return None
    if not isinstance(kind, str) or kind not in ITEMS:
        known = ", ".join(map(repr, ITEMS))
        message = f"`{path}.type`: items of type {kind!r} cannot be used here; send items of the types {known}"
        raise RequestError(message, param=f"{path}.type")
    return convert(item, ITEMS[kind], path)


def _add(messages: list[Message], read: msgspec.Struct, path: str, note: Callable[[str], None]) -> None:
    """Add what `read` says to `messages`."""
    if isinstance(read, MessageItem):
        role = "system" if read.role == "developer" else read.role
        messages.append(Message(role=role, content=_text(read.content, f"{path}.content", note), name=read.name))
    elif isinstance(read, FunctionCallIn):
        _call(messages, read.call_id, qualified(read.name, read.namespace), read.arguments)
    elif isinstance(read, ToolSearchCallIn):
        _call(messages, read.call_id or "", "tool_search", json.dumps(read.arguments, ensure_ascii=False))
    elif isinstance(read, CustomCallIn):
        _custom_call(messages, custom_call(qualified(read.name, read.namespace), read.input))
    elif isinstance(read, CallOutput):
        messages.append(_output(read.call_id, _text(read.output, f"{path}.output", note)))
    else:
        assert isinstance(read, CompactionIn)
        messages.append(Message(role="system", content=_COMPACTED + expand(read.encrypted_content, path)))


def _text(content: str | list[Part], path: str, note: Callable[[str], None]) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(_part_text(part, f"{path}[{i}]", note) for i, part in enumerate(content))


def _part_text(part: Part, path: str, note: Callable[[str], None]) -> str:
    if part.type in _LEFT_OUT:
        note(f"input.content.{part.type}")
        return f"[{_LEFT_OUT[part.type]} was left out: this model reads text only.]"
    text = part.refusal if part.type == "refusal" else part.text
    if text is None:
        param = f"{path}.{'refusal' if part.type == 'refusal' else 'text'}"
        raise RequestError(f"`{param}` is missing; send a string", param=param, code="missing_required_parameter")
    return text


def _call(messages: list[Message], call_id: str, name: str, arguments: str) -> None:
    """Add a call to the assistant's turn that it ends, which is one message for the chat template."""
    call: dict[str, Any] = {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
    if messages and messages[-1].role == "assistant":
        last = messages.pop()
        messages.append(msgspec.structs.replace(last, tool_calls=(*last.tool_calls, call)))
    else:
        messages.append(Message(role="assistant", tool_calls=(call,)))


def _custom_call(messages: list[Message], text: str) -> None:
    """Add a call as the model wrote it: no template knows such calls."""
    last = messages[-1] if messages else None
    if last is not None and last.role == "assistant" and not last.tool_calls:
        content = f"{last.content}\n{text}" if last.content else text
        messages[-1] = msgspec.structs.replace(last, content=content)
    else:
        messages.append(Message(role="assistant", content=text))


def _output(call_id: str | None, text: str) -> Message:
    return Message(role="tool", content=text, tool_call_id=call_id)


def shrink(summary: str) -> str:
    """Return `summary` as the `encrypted_content` of a compaction item. It is encoded, not secret."""
    return base64.b64encode(msgspec.json.encode({"firesteel": 1, "summary": summary})).decode()


def expand(content: str, path: str) -> str:
    """Return the summary in `content`. Raises `RequestError` when another server made it, or it is damaged."""
    try:
        decoded = msgspec.json.decode(base64.b64decode(content, validate=True))
        summary = decoded["summary"]
        assert isinstance(summary, str)
    except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError, TypeError, LookupError, AssertionError):
        param = f"{path}.encrypted_content"
        message = f"`{param}` was not made by this server; send the earlier items instead"
        raise RequestError(message, param=param) from None
    return summary
