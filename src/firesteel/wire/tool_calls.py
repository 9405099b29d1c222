"""The tool-call syntax of Hermes and Qwen models, parsed incrementally.

    <tool_call>
    {"name": "get_weather", "arguments": {"city": "Oslo"}}
    </tool_call>

The pieces, put together, do not depend on how the text was cut (law 2). A call is reported as soon as its
name is known, and its arguments as they come, as valid JSON. What models get wrong is repaired where that is
certain (`json_repair`; tags or braces that are missing). A call that is not certain is reported as
`Malformed`, and never becomes content. White space around a call belongs to the syntax. The tag without an
object after it is content, as in a text about this syntax: no such text is ever lost. An answer that is nothing
but JSON which names known tools is calls as well (`bare_calls`).
"""

from collections.abc import Iterable

from firesteel.wire.bare_calls import may_be_calls, read_bare
from firesteel.wire.one_call import CLOSE as CLOSE
from firesteel.wire.one_call import OPEN as OPEN
from firesteel.wire.one_call import Call, start_of_partial
from firesteel.wire.one_call import CallArguments as CallArguments
from firesteel.wire.one_call import CallBegin as CallBegin
from firesteel.wire.one_call import Content as Content
from firesteel.wire.one_call import Malformed as Malformed
from firesteel.wire.one_call import Parsed as Parsed
from firesteel.wire.one_call import Piece as Piece


class ToolCallParser:
    """Splits the text of one answer into content and calls; ids are `{prefix}_{index}`.

    `names` are the tools that may also be called without tags; with `single`, that is done once. `num_before` calls
    of the answer were read by somebody else.
    """

    def __init__(
        self, *, prefix: str = "call", names: Iterable[str] = (), single: bool = False, num_before: int = 0
    ) -> None:
        self.num_calls = num_before  # that have begun
        self._prefix = prefix
        self._buffer = ""  # what is not yet decided, outside of a call
        self._call: Call | None = None
        self._after_call = False
        self._closed = False  # the closing tag of the last call was seen
        self._names = frozenset(names)
        self._is_single = single
        self.may_be_bare = bool(self._names)  # nothing has been said yet that is no call without tags

    @property
    def is_in_bare_call(self) -> bool:
        """Whether all of the answer so far is held, since it may be calls without tags."""
        return self.may_be_bare and bool(self._buffer.strip())

    def feed(self, text: str) -> list[Parsed]:
        """Return the pieces that `text` decides."""
        self._buffer += text
        if self.may_be_bare and may_be_calls(self._buffer, self._names):
            return []
        self.may_be_bare = False
        pieces: list[Parsed] = []
        while self._advance(pieces):
            pass
        return _joined(pieces)

    def finish(self, *, is_cut: bool = False) -> list[Parsed]:
        """Return what was still held; `is_cut`: the answer did not end by itself, so nothing is completed."""
        pieces = self._end_bare(is_cut=is_cut) if self.may_be_bare else []
        if self._call is not None:
            self._call.feed(self._buffer, pieces, is_last=True)
            self._call.finish(pieces, is_cut=is_cut)
            self._leave_call()
        elif self._buffer and not (self._after_call and CLOSE.startswith(self._buffer.strip())):
            pieces.append(Content(self._buffer))
        self._buffer = ""
        return _joined(pieces)

    def _end_bare(self, *, is_cut: bool) -> list[Parsed]:
        """Read what was held back, now that it is all of the answer."""
        self.may_be_bare = False
        pieces = read_bare(self._buffer, self._names, self._prefix, is_single=self._is_single, is_cut=is_cut)
        if not pieces:
            return self.feed("")
        self._buffer = ""
        self.num_calls = sum(isinstance(piece, CallBegin) for piece in pieces)
        return pieces

    def _advance(self, pieces: list[Parsed]) -> bool:
        """Move on by one decision; false when more text is needed."""
        if self._call is not None:
            return self._read_call(self._call, pieces)
        if self._after_call:
            return self._read_close()
        return self._read_content(pieces)

    def _read_content(self, pieces: list[Parsed]) -> bool:
        tag = self._buffer.find(OPEN)
        end = tag if tag >= 0 else start_of_partial(OPEN, self._buffer)
        self._release(len(self._buffer[:end].rstrip()), pieces)
        if tag < 0:
            return False
        return self._read_open(pieces)

    def _read_open(self, pieces: list[Parsed]) -> bool:
        """Decide whether a call follows the tag, before which only white space is left in the buffer."""
        begin = self._buffer.index(OPEN) + len(OPEN)
        body = self._buffer[begin:].lstrip()
        if not body:
            return False
        if not body.startswith("{"):
            self._release(begin, pieces)
            return True
        self._call = Call(self.num_calls, f"{self._prefix}_{self.num_calls}")
        self._buffer = body
        return True

    def _read_call(self, call: "Call", pieces: list[Parsed]) -> bool:
        self._buffer = call.feed(self._buffer, pieces)
        if not call.has_ended:
            return False
        self._leave_call()
        return True

    def _leave_call(self) -> None:
        assert self._call is not None
        self.num_calls += self._call.has_begun
        self._call = None
        self._after_call, self._closed = True, False

    def _read_close(self) -> bool:
        """Drop white space, a brace too many and one closing tag after a call."""
        self._buffer = self._buffer.lstrip() if self._closed else self._buffer.lstrip(" \t\r\n}")
        if not self._closed and self._buffer.startswith(CLOSE):
            self._buffer = self._buffer[len(CLOSE) :]
            self._closed = True
            return True
        if not self._buffer or (not self._closed and CLOSE.startswith(self._buffer)):
            return False
        self._after_call = False
        return True

    def _release(self, end: int, pieces: list[Parsed]) -> None:
        if end:
            pieces.append(Content(self._buffer[:end]))
        self._buffer = self._buffer[end:]


def _joined(pieces: list[Parsed]) -> list[Parsed]:
    """Put neighbouring pieces of the same arguments together."""
    joined: list[Parsed] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if isinstance(piece, CallArguments) and isinstance(last, CallArguments) and last.index == piece.index:
            joined[-1] = CallArguments(piece.index, last.text + piece.text)
        else:
            joined.append(piece)
    return joined
