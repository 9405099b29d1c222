"""A thin HTTP client that times server-sent events.

The client shares the cores with the server that it measures, so while bytes arrive it only stamps them and
lets httptools (C) undo the chunked encoding; events are parsed after the answer is complete.
"""

import re
import selectors
import socket
import time
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, Protocol

import httptools
import msgspec

from firesteel.errors import EngineFailure

RECEIVE_BYTES = 1 << 18
SILENCE_SECONDS = 600.0  # the longest cold prefill that is waited for

HEAD = "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"

Json = dict[str, Any]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One streamed answer as the client saw it. Times are seconds since the request was sent."""

    first: float  # the first event that carried text
    last: float  # the last event that carried text
    end: float  # the answer is complete
    longest_gap: float  # between two events that carried text
    num_events: int  # events that carried text
    num_tokens: int
    num_prompt_tokens: int
    num_cached_tokens: int
    text: str
    final: Json  # the event that carried `usage`

    @property
    def tokens_per_second(self) -> float:
        """Decode speed: tokens after the first ÷ time after the first. For one token an event only."""
        return (self.num_tokens - 1) / (self.last - self.first) if self.last > self.first else 0.0


class Parser(Protocol):
    """The two calls of `httptools.HttpResponseParser` that we use; httptools ships no types."""

    def feed_data(self, data: bytes) -> None:
        """Parse `data` and call back."""
        ...

    def get_status_code(self) -> int:
        """Return the status of the answer."""
        ...


class Exchange:
    """One request and the stamped pieces of its answer. httptools calls the `on_…` methods."""

    def __init__(self, body: Json) -> None:
        self.body = body
        self.sent = 0.0
        self.now = 0.0
        self.pieces: list[tuple[float, bytes]] = []
        self.complete = False
        self.parser: Parser = httptools.HttpResponseParser(self)

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the answer's body with its time."""
        self.pieces.append((self.now, body))

    def on_message_complete(self) -> None:
        """Take note that nothing more will come."""
        self.complete = True

    def answer(self) -> Answer:
        """Return what was received. Raises `EngineFailure` when it was no complete stream."""
        if self.parser.get_status_code() != 200:
            raise EngineFailure(f"the server answered {b''.join(piece for _, piece in self.pieces)[:500]!r}")
        return summarise(timed_events(self.pieces), self.sent, self.now)


class Connection:
    """A keep-alive connection that carries one exchange at a time."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=SILENCE_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.current: Exchange | None = None

    def send(self, path: str, body: Json) -> Exchange:
        """Send `body` as a streaming request and return the exchange that `receive` fills."""
        text = msgspec.json.encode(body | {"stream": True, "stream_options": {"include_usage": True}})
        head = HEAD.format(path=path, length=len(text))
        self.current = exchange = Exchange(body)
        exchange.sent = time.perf_counter()
        self.socket.sendall(head.encode() + text)
        return exchange

    def receive(self) -> Exchange:
        """Take in what has arrived and return the exchange. Raises `EngineFailure` if the server hung up."""
        exchange = self.current
        assert exchange is not None, "receive before send"
        data = self.socket.recv(RECEIVE_BYTES)
        exchange.now = time.perf_counter()
        if not data:
            raise EngineFailure("the server closed the connection in the middle of an answer")
        exchange.parser.feed_data(data)
        return exchange

    def exchange(self, path: str, body: Json) -> Exchange:
        """Send `body`, wait for the whole stream and return it unparsed."""
        exchange = self.send(path, body)
        while not exchange.complete:
            self.receive()
        return exchange

    def ask(self, path: str, body: Json) -> Answer:
        """Send `body`, wait for the whole stream and return what it says."""
        return self.exchange(path, body).answer()

    def receive_for(self, seconds: float) -> Exchange:
        """Take in what arrives within `seconds` and return the exchange, complete or not."""
        exchange, deadline = self.current, time.perf_counter() + seconds
        assert exchange is not None, "receive before send"
        with selectors.DefaultSelector() as selector:
            selector.register(self.socket, selectors.EVENT_READ)
            while not exchange.complete and (left := deadline - time.perf_counter()) > 0:
                if selector.select(left):
                    self.receive()
        return exchange

    def close(self) -> None:
        """Close the socket; an answer that is not complete is thereby cancelled."""
        self.socket.close()


def ask(port: int, path: str, body: Json) -> Answer:
    """Ask once on a connection of its own: servers drop idle ones after some seconds."""
    connection = Connection(port)
    try:
        return connection.ask(path, body)
    finally:
        connection.close()


def exchange_all(connections: Sequence[Connection], path: str, bodies: Sequence[Json]) -> list[Exchange]:
    """Send `bodies[i]` on `connections[i]`, all at once, and return the complete exchanges in that order."""
    with selectors.DefaultSelector() as selector:
        exchanges = []
        for connection, body in zip(connections, bodies, strict=True):
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            exchanges.append(connection.send(path, body))
        while selector.get_map():
            for key, _ in selector.select(SILENCE_SECONDS):
                if key.data.receive().complete:
                    selector.unregister(key.fileobj)
    return exchanges


def timed_events(pieces: Sequence[tuple[float, bytes]]) -> list[tuple[float, Json]]:
    """Return the JSON events of a stream, each with the time at which its last byte arrived."""
    events: list[tuple[float, Json]] = []
    rest = b""
    for seconds, piece in pieces:
        *blocks, rest = (rest + piece).split(b"\n\n")
        data = [block[6:] for block in blocks if block.startswith(b"data: {")]  # neither comments nor [DONE]
        events.extend((seconds, msgspec.json.decode(text)) for text in data)
    return events


def timed_progress(pieces: Sequence[tuple[float, bytes]]) -> list[tuple[float, int]]:
    """Return the prompt tokens that our server's comments said to be computed, with the time of each."""
    stream = b"".join(piece for _, piece in pieces)
    ends = list(accumulate(len(piece) for _, piece in pieces))
    found = re.finditer(rb"^: prefill (\d+)/\d+\n", stream, re.MULTILINE)
    return [(pieces[bisect_left(ends, match.end())][0], int(match[1])) for match in found]


def event_text(event: Json) -> str:
    """Return the text that an event of either endpoint carries, "" for none."""
    if "error" in event:
        raise EngineFailure(f"the stream failed: {event['error']}")
    choices = event.get("choices") or [{}]
    return choices[0].get("text") or (choices[0].get("delta") or {}).get("content") or ""


def summarise(events: Sequence[tuple[float, Json]], sent: float, end: float) -> Answer:
    """Return the `Answer` that timed events make. Raises `EngineFailure` if text or usage are missing."""
    texts = [(seconds, text) for seconds, event in events if (text := event_text(event))]
    final = next((event for _, event in reversed(events) if event.get("usage")), None)
    if not texts or final is None:
        raise EngineFailure(f"the stream of {len(events)} events carried no {'usage' if texts else 'text'}")
    usage = final["usage"]
    times = [seconds for seconds, _ in texts]
    return Answer(
        first=times[0] - sent,
        last=times[-1] - sent,
        end=end - sent,
        longest_gap=max((later - earlier for earlier, later in pairwise(times)), default=0.0),
        num_events=len(texts),
        num_tokens=usage["completion_tokens"],
        num_prompt_tokens=usage["prompt_tokens"],
        num_cached_tokens=(usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0,
        text="".join(text for _, text in texts),
        final=final,
    )
