"""Anthropic's turns and content blocks → the turns that chat templates know.

A user turn of tool results and text becomes one `tool` turn for each result, then a `user` turn. What a text
model cannot read is left out, and the model is told so.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from firesteel.errors import RequestError
from firesteel.types import Message
from firesteel.wire.anthropic import Block, InnerBlock, WireMessage

_READ = frozenset({"text", "tool_use", "tool_result", "tool_reference"})
_HIDDEN = frozenset({"thinking", "redacted_thinking", "fallback", "compaction"})
"""What the model is not even told of: earlier reasoning and bookkeeping."""

_LEFT_OUT = {"image": "An image", "document": "A document"}


def messages_of(turns: Sequence[WireMessage]) -> tuple[Message, ...]:
    """Return `turns` as messages. Raises `RequestError` that names the block at fault."""
    if turns[-1].role == "assistant":
        message = "`messages`: the last one is the assistant's, and no answer can be begun for it; end with the user's"
        raise RequestError(message, param="messages")
    last_user = max((i for i, turn in enumerate(turns) if turn.role == "user"), default=-1)
    shown = [(i, turn) for i, turn in enumerate(turns) if not (turn.clear_at == "next_user_message" and i < last_user)]
    return tuple(message for i, turn in shown for message in _messages(turn, f"messages[{i}].content"))


def left_out(turns: Sequence[WireMessage]) -> tuple[str, ...]:
    """Return the paths of the kinds of blocks that were left out, each once, as `firesteel.noted` names them."""
    kinds = dict.fromkeys(block.type for block in _blocks(turns) if not _is_read(block))
    return tuple(f"messages.content.{kind}" for kind in kinds)


def referenced_tools(turns: Sequence[WireMessage]) -> frozenset[str]:
    """Return the names of the deferred tools that a tool search has found."""
    return frozenset(block.tool_name for block in _blocks(turns) if block.type == "tool_reference" and block.tool_name)


def _blocks(turns: Sequence[WireMessage]) -> Iterator[InnerBlock]:
    """Yield every block, also those inside tool results."""
    for turn in turns:
        for block in turn.content if isinstance(turn.content, list) else ():
            yield block
            yield from block.content if isinstance(block.content, list) else ()


def _messages(turn: WireMessage, path: str) -> list[Message]:
    if isinstance(turn.content, str):
        return [Message(role=turn.role, content=turn.content)]
    results = [
        Message(role="tool", content=_result(block, f"{path}[{i}]"), tool_call_id=block.tool_use_id)
        for i, block in enumerate(turn.content)
        if block.type == "tool_result"
    ]
    calls = tuple(_call(block, f"{path}[{i}]") for i, block in enumerate(turn.content) if block.type == "tool_use")
    others = [block for block in turn.content if block.type not in ("tool_result", "tool_use")]
    text = _text(others, path)
    if calls and turn.role != "assistant":
        raise RequestError(f"`{path}`: `tool_use` belongs in an assistant's turn", param=path)
    if results and turn.role != "user":
        raise RequestError(f"`{path}`: `tool_result` belongs in a user's turn", param=path)
    if text or calls or not results:
        results.append(Message(role=turn.role, content=text, tool_calls=calls))
    return results


def _result(block: Block, path: str) -> str:
    if block.tool_use_id is None:
        raise _missing(f"{path}.tool_use_id", "send the id of the call that this result answers")
    content = block.content or ""
    text = content if isinstance(content, str) else _text(content, f"{path}.content")
    return f"Error: {text}" if block.is_error else text


def _call(block: Block, path: str) -> dict[str, Any]:
    for name in ("id", "name", "input"):
        if getattr(block, name) is None:
            raise _missing(f"{path}.{name}", "send it")
    function = {"name": block.name, "arguments": json.dumps(block.input, ensure_ascii=False)}
    return {"id": block.id, "type": "function", "function": function}


def _text(blocks: Sequence[InnerBlock], path: str) -> str:
    texts = (_block_text(block, f"{path}[{i}]") for i, block in enumerate(blocks))
    return "\n".join(text for text in texts if text is not None)


def _block_text(block: InnerBlock, path: str) -> str | None:
    if block.type in _HIDDEN:
        return None
    if block.type == "tool_reference":
        return f"The tool {block.tool_name} can be called now."
    if block.type == "text":
        if block.text is None:
            raise _missing(f"{path}.text", "send a string")
        return block.text
    if isinstance(block, Block) and block.type == "search_result":
        return block.content if isinstance(block.content, str) else _text(block.content or [], f"{path}.content")
    if _is_read(block):
        return _document(block)
    kind = _LEFT_OUT.get(block.type, f"A block of type {block.type}")
    return f"[{kind} was left out: this model reads text only.]"


def _is_read(block: InnerBlock) -> bool:
    if block.type == "document":
        return _document(block) is not None
    return block.type in _READ or (block.type == "search_result" and isinstance(block, Block))


def _document(block: InnerBlock) -> str | None:
    """Return the text of a document that is sent as text."""
    source = block.source if isinstance(block.source, dict) else {}
    text = source.get("data") if source.get("type") == "text" else None
    return text if isinstance(text, str) else None


def _missing(path: str, remedy: str) -> RequestError:
    return RequestError(f"`{path}` is missing; {remedy}", param=path, code="missing_required_parameter")
