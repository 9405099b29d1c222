"""Finds the calls of custom tools in an answer; everything else goes on to the parser of function calls.

What leaves does not depend on how the text was cut (law 2). See `wire.response_tools` for how a call is written.
"""

import re

import msgspec

from firesteel.wire.tool_calls import CLOSE, OPEN

_HEAD = re.compile(r'<tool_call>\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)+")\s*\}[ \t]*\n')
_HEAD_SO_FAR = re.compile(
    r'\s*(?:\{\s*(?:"(?:n(?:a(?:m(?:e(?:"\s*(?::\s*(?:"(?:[^"\\]|\\.)*\\?(?:"\s*(?:\}[ \t]*)?)?)?)?)?)?)?)?)?)?)?'
)
_END = "\n" + CLOSE


class PlainText(msgspec.Struct, frozen=True):
    """Text that belongs to no custom call."""

    text: str


class CustomBegin(msgspec.Struct, frozen=True):
    """A call of the custom tool `name` begins."""

    name: str


class CustomText(msgspec.Struct, frozen=True):
    """More of the call's text."""

    text: str


class CustomEnd(msgspec.Struct, frozen=True):
    """The call is complete."""


CustomPiece = PlainText | CustomBegin | CustomText | CustomEnd


class CustomCalls:
    """Splits the text of one answer."""

    def __init__(self) -> None:
        self._buffer = ""
        self._in_call = False
        self._after_call = False

    def feed(self, text: str) -> list[CustomPiece]:
        """Return the pieces that `text` decides."""
        self._buffer += text
        pieces: list[CustomPiece] = []
        while self._read_call(pieces) if self._in_call else self._read_plain(pieces):
            pass
        return pieces

    def finish(self, *, closed: bool = False) -> list[CustomPiece]:
        """Return what was still held. A call that was cut off has no end, unless a stop string `closed` it."""
        held, self._buffer = self._buffer, ""
        if not self._in_call:
            return [PlainText(held)] if held and not (self._after_call and not held.strip()) else []
        held = held.removesuffix("\n") if closed else held
        text: list[CustomPiece] = [CustomText(held)] if held else []
        return [*text, CustomEnd()] if closed else text

    def _read_plain(self, pieces: list[CustomPiece]) -> bool:
        if self._after_call:  # white space around a call belongs to the syntax
            self._buffer = self._buffer.lstrip()
            self._after_call = not self._buffer
        head = _HEAD.search(self._buffer)
        if head is not None:
            self._release(len(self._buffer[: head.start()].rstrip()), pieces)
            self._buffer = self._buffer[len(self._buffer) - (len(head.string) - head.end()) :]
            pieces.append(CustomBegin(str(msgspec.json.decode(head[1]))))
            self._in_call = True
            return True
        self._release(self._start_of_head(), pieces)
        return False

    def _start_of_head(self) -> int:
        """Return where a head may begin whose end is not here yet, with the white space before it."""
        start = 0
        while (start := self._buffer.find("<", start)) >= 0:
            rest = self._buffer[start:]
            if OPEN.startswith(rest) or (rest.startswith(OPEN) and _HEAD_SO_FAR.fullmatch(rest, len(OPEN))):
                return len(self._buffer[:start].rstrip())
            start += 1
        return len(self._buffer.rstrip())

    def _read_call(self, pieces: list[CustomPiece]) -> bool:
        end = self._buffer.find(CLOSE)
        if end < 0:
            self._release_text(len(self._buffer) - _num_held(self._buffer), pieces)
            return False
        self._release_text(end - self._buffer[:end].endswith("\n"), pieces)
        self._buffer = self._buffer[self._buffer.find(CLOSE) + len(CLOSE) :]
        pieces.append(CustomEnd())
        self._in_call, self._after_call = False, True
        return True

    def _release(self, end: int, pieces: list[CustomPiece]) -> None:
        if end:
            pieces.append(PlainText(self._buffer[:end]))
        self._buffer = self._buffer[end:]

    def _release_text(self, end: int, pieces: list[CustomPiece]) -> None:
        if end:
            pieces.append(CustomText(self._buffer[:end]))
        self._buffer = self._buffer[end:]


def _num_held(text: str) -> int:
    """Return how many characters at the end of `text` may be the beginning of the end."""
    for size in range(min(len(text), len(_END) - 1), 0, -1):
        if _END.startswith(text[-size:]) or CLOSE.startswith(text[-size:]):
            return size
    return 0
