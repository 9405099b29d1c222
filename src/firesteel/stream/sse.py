"""Server-sent events: writing them, and a strict incremental reader.

Spec: https://html.spec.whatwg.org/multipage/server-sent-events.html, sections 9.2.5 and 9.2.6.
"""

import codecs

import msgspec

DONE = b"data: [DONE]\n\n"

_FIELDS = ("data", "event", "id", "retry")


def encode(data: bytes, event: str = "") -> bytes:
    """Return one event that carries `data`, named `event` if that is given (a line without line breaks)."""
    if b"\n" in data or b"\r" in data:
        data = b"\ndata: ".join(data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"))
    return (b"event: %b\n" % event.encode() if event else b"") + b"data: %b\n\n" % data


def comment(text: str) -> bytes:
    """Return a comment of one line, which clients skip."""
    assert "\n" not in text
    assert "\r" not in text
    return f": {text}\n\n".encode()


class SSEMessage(msgspec.Struct, frozen=True):
    """One event."""

    data: str
    event: str = "message"


class SSEComment(msgspec.Struct, frozen=True):
    """One comment line."""

    text: str


SSEItem = SSEMessage | SSEComment


class SSEDecoder:
    """Reads a byte stream, however it is cut. Stricter than browsers: a line it does not know is an error.

    Raises `ValueError` for bytes that are not UTF-8 and for lines that are no field of the format.
    """

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self._line = ""  # the line that is not complete yet
        self._after_return = False  # the last character was a CR, to which an LF may belong
        self._data: list[str] = []
        self._event = ""

    def feed(self, data: bytes) -> list[SSEItem]:
        """Return the events and comments that `data` completes, in order."""
        text = self._decode(data)
        if self._after_return and text:
            text = text.removeprefix("\n")
            self._after_return = False
        self._after_return = self._after_return or text.endswith("\r")
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        *lines, self._line = (self._line + text).split("\n")
        return [item for item in map(self._read, lines) if item is not None]

    def finish(self) -> None:
        """Raise `ValueError` when the stream ended inside an event."""
        self._decode(b"", True)
        if self._line or self._data or self._event:
            raise ValueError("the stream ended inside an event")

    def _read(self, line: str) -> SSEItem | None:
        if not line:
            return self._dispatch()
        name, colon, value = line.partition(":")
        value = value.removeprefix(" ")
        if colon and not name:
            return SSEComment(value)
        if name not in _FIELDS:
            raise ValueError(f"not a line of an event stream: {line[:80]!r}")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        return None

    def _dispatch(self) -> SSEMessage | None:
        """End the event; one without data is none (9.2.6)."""
        data, event = self._data, self._event
        self._data, self._event = [], ""
        return SSEMessage("\n".join(data), event or "message") if data else None
