"""The events of a response: numbered, encoded, and framed for SSE or left as they are for a WebSocket."""

from typing import Any

import msgspec

encode = msgspec.json.Encoder().encode

WireEvent = tuple[str, bytes]
"""The type of an event, and all of it as JSON."""


class Events:
    """Numbers the events of one request, those of its successors too, from 0. `stream_id` is the lane's."""

    def __init__(self, stream_id: str | None = None) -> None:
        self._next = 0
        self._lane: dict[str, str] = {} if stream_id is None else {"stream_id": stream_id}
        self._tail = b"}" if stream_id is None else b',"stream_id":%b}' % encode(stream_id)

    def event(self, kind: str, /, **fields: Any) -> WireEvent:
        """Return an event with `fields`."""
        return kind, encode({"type": kind, "sequence_number": self._number(), **fields, **self._lane})

    def delta(self, kind: str, head: bytes, text: str) -> WireEvent:
        """Return an event that adds `text`; `head` is that of `delta_head`. The hot path."""
        return kind, b'%b%b,"sequence_number":%d%b' % (head, encode(text), self._number(), self._tail)

    def _number(self) -> int:
        number = self._next
        self._next += 1
        return number


def delta_head(kind: str, **fields: Any) -> bytes:
    """Return the beginning of all deltas of one item."""
    return encode({"type": kind, **fields})[:-1] + b',"delta":'


def sse(event: WireEvent) -> bytes:
    """Return `event` as one server-sent event; JSON holds no line breaks."""
    return b"event: %b\ndata: %b\n\n" % (event[0].encode(), event[1])
