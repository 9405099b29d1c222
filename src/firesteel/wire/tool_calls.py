"""The tool-call syntax of Hermes and Qwen models, parsed incrementally.

    <tool_call>
    {"name": "get_weather", "arguments": {"city": "Oslo"}}
    </tool_call>

The pieces do not depend on how the text was cut (law 2). A call is reported when its JSON object closes, so
that what is reported is always valid JSON; a closing tag that is missing, or that a stop string took away,
does no harm. White space around a call belongs to the syntax. What is not a well-formed call is content: no
other text is ever lost.
"""

import json
from typing import NoReturn

import msgspec

OPEN = "<tool_call>"
CLOSE = "</tool_call>"


class Content(msgspec.Struct, frozen=True):
    """Text of the answer itself."""

    text: str


class CallBegin(msgspec.Struct, frozen=True):
    """Call number `index` of this answer names its tool."""

    index: int
    id: str
    name: str


class CallArguments(msgspec.Struct, frozen=True):
    """The arguments of call number `index`, as JSON text."""

    index: int
    text: str


Piece = Content | CallBegin | CallArguments


def forced_text(name: str | None) -> str:
    """Return the beginning of an answer that must be a call: of the tool `name`, or of any tool."""
    head = f'{OPEN}\n{{"name": '
    return f'{head}"' if name is None else f'{head}{json.dumps(name, ensure_ascii=False)}, "arguments": '


class ToolCallParser:
    """Splits the text of one answer into content and calls.

    `forced_text` is the beginning of the answer that stood in the prompt; ids are `{prefix}_{index}`.
    """

    def __init__(self, forced_text: str = "", *, prefix: str = "call") -> None:
        self.num_calls = 0
        self._prefix = prefix
        self._buffer = ""  # what is not yet decided; inside a call: white space, tag and JSON so far
        self._in_call = False
        self._after_call = False
        self._closed = False  # the closing tag of the last call was seen
        self._body = 0  # where the call's JSON begins in the buffer
        self._scanned = 0
        self._depth = 0
        self._in_string = False
        self._escaped = False
        self.feed(forced_text)

    def feed(self, text: str) -> list[Piece]:
        """Return the pieces that `text` decides."""
        self._buffer += text
        pieces: list[Piece] = []
        while self._advance(pieces):
            pass
        return pieces

    def finish(self) -> list[Piece]:
        """Return what was still held, an unfinished call as content."""
        held, self._buffer = self._buffer, ""
        is_syntax = self._after_call and CLOSE.startswith(held.strip())
        return [Content(held)] if held and not is_syntax else []

    def _advance(self, pieces: list[Piece]) -> bool:
        """Move on by one decision; false when more text is needed."""
        if self._in_call:
            return self._read_call(pieces)
        if self._after_call:
            return self._read_close()
        return self._read_content(pieces)

    def _read_content(self, pieces: list[Piece]) -> bool:
        tag = self._buffer.find(OPEN)
        end = tag if tag >= 0 else self._start_of_partial_tag()
        end = len(self._buffer[:end].rstrip())
        self._release(end, pieces)
        if tag < 0:
            return False
        self._in_call = True
        self._body = self._scanned = tag - end + len(OPEN)
        self._depth = 0
        self._in_string = self._escaped = False
        return True

    def _start_of_partial_tag(self) -> int:
        start = self._buffer.rfind("<")
        return start if start >= 0 and OPEN.startswith(self._buffer[start:]) else len(self._buffer)

    def _read_call(self, pieces: list[Piece]) -> bool:
        if self._depth == 0 and not self._at_object():
            if self._scanned == len(self._buffer):
                return False
            self._in_call = False
            self._release(self._body, pieces)
            return True
        if not self._scan_object():
            return False
        self._in_call = False
        call = _parse(self._buffer[self._body : self._scanned])
        if call is None:
            self._release(self._scanned, pieces)
            return True
        pieces += (CallBegin(self.num_calls, f"{self._prefix}_{self.num_calls}", call[0]),)
        pieces += (CallArguments(self.num_calls, call[1]),)
        self.num_calls += 1
        self._buffer = self._buffer[self._scanned :]
        self._after_call, self._closed = True, False
        return True

    def _at_object(self) -> bool:
        """Skip white space; true when a JSON object begins here."""
        while self._scanned < len(self._buffer) and self._buffer[self._scanned].isspace():
            self._scanned += 1
        return self._buffer.startswith("{", self._scanned)

    def _scan_object(self) -> bool:
        """Go on to the brace that closes the object; false when it is not here yet."""
        while self._scanned < len(self._buffer):
            character = self._buffer[self._scanned]
            self._scanned += 1
            if self._in_string:
                if self._escaped:
                    self._escaped = False
                elif character == "\\":
                    self._escaped = True
                elif character == '"':
                    self._in_string = False
            elif character == '"':
                self._in_string = True
            elif character == "{":
                self._depth += 1
            elif character == "}":
                self._depth -= 1
                if self._depth == 0:
                    return True
        return False

    def _read_close(self) -> bool:
        """Drop white space and one closing tag after a call."""
        self._buffer = self._buffer.lstrip()
        if not self._closed and self._buffer.startswith(CLOSE):
            self._buffer = self._buffer[len(CLOSE) :]
            self._closed = True
            return True
        if not self._buffer or (not self._closed and CLOSE.startswith(self._buffer)):
            return False
        self._after_call = False
        return True

    def _release(self, end: int, pieces: list[Piece]) -> None:
        if end:
            pieces.append(Content(self._buffer[:end]))
        self._buffer = self._buffer[end:]


def _parse(text: str) -> tuple[str, str] | None:
    """Return name and arguments of a call; None when it is malformed.

    Line breaks inside strings are let through, which JSON forbids but small models write.
    """
    try:
        call = json.loads(text, strict=False, parse_constant=_refuse)
        arguments = call.get("arguments") or {}
        if isinstance(arguments, str):
            arguments = json.loads(arguments, strict=False, parse_constant=_refuse)
        name, encoded = call.get("name"), json.dumps(arguments, ensure_ascii=False, allow_nan=False)
        encoded.encode()  # a lone surrogate could not be sent
    except (ValueError, RecursionError):
        return None
    if not (isinstance(name, str) and name.isprintable() and name and isinstance(arguments, dict)):
        return None
    return name, encoded


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
