"""uvicorn's HTTP protocol with limits on what happens before a request is one: connections, head, time.

A body is limited where it is read (`answer.py`), a slow reader where it is written to. Every state of a connection
has one guard of its time, whatever else the client sends:

- new, or in a head: `_await_head`, which begins with the first byte and with no other
- an answer is open: the limits of the answer (`body_timeout`, `request_timeout`, `idle_write_timeout`); what is sent
  ahead has no timer, because it is not always read then, and gets the one of its state when the answer is out
- answered, but the body still comes: UNREAD_SECONDS
- idle between requests: uvicorn's keep-alive, until the next byte
- a WebSocket: the pings of its own protocol; a handshake that it cannot read is refused at once
"""

import asyncio
from collections.abc import Callable
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from firesteel.config import ServerConfig
from firesteel.errors import FiresteelError, HeadTooLarge, HeadTooSlow, Overloaded, RequestError
from firesteel.wire.errors import encode_error

MAX_HEAD_BYTES = 64 * 1024
UNREAD_SECONDS = 10.0  # that an answered client may go on sending a body nobody wants
UNREAD_BODIES = 2  # and how much of it, in largest bodies
MAX_AHEAD = 64  # requests that may be sent ahead of their answers; one read holds thousands
CROWDED_RETRY_SECONDS = 5.0


class LimitedProtocol(HttpToolsProtocol):
    """One connection. `read_config` returns the limits as they are now."""

    read_config: Callable[[], ServerConfig]
    _timer: asyncio.TimerHandle | None = None
    _fruitless_bytes = 0  # since the parser last got anywhere: of a head, of trailers, between requests
    _unread_bytes = 0
    _is_in_head = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or say that there are too many."""
        super().connection_made(transport)
        most = self.read_config().max_connections
        if len(self.connections) > most:
            message = f"all {most} connections are taken; try again, or raise `max_connections` of the server"
            self._refuse(Overloaded(message, retry_after=CROWDED_RETRY_SECONDS))
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; a head, or trailers, that grow too large are refused before they are whole."""
        if self.transport.is_closing():
            return
        if self.timeout_keep_alive_task is not None:  # it was idle: blank lines too are the beginning of a head
            self._await_head()
        self._fruitless_bytes += len(data)
        super().data_received(data)
        if self._fruitless_bytes > MAX_HEAD_BYTES:
            message = f"the request's head, or its trailers, exceed {MAX_HEAD_BYTES} bytes; send fewer headers"
            self._refuse(HeadTooLarge(message))
        elif self._is_unwanted():
            self._unread_bytes += len(data)
            if self._unread_bytes > UNREAD_BODIES * self.read_config().max_body_bytes:
                self.transport.close()

    def on_message_begin(self) -> None:
        """A request begins: its head must be here in time. Raises RequestError, which ends the parsing."""
        if len(self.pipeline) >= MAX_AHEAD:
            raise RequestError(f"more than {MAX_AHEAD} requests are sent ahead of their answers")
        super().on_message_begin()
        self._is_in_head, self._fruitless_bytes, self._unread_bytes = True, 0, 0
        if not self._is_answering():
            self._await_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; one behind the body is none, since whoever it would speak to has decided already."""
        if self._is_in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is here."""
        self._is_in_head, self._fruitless_bytes = False, 0
        self._stop_timer()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Some of the body is here."""
        self._fruitless_bytes = 0
        super().on_body(body)

    def on_response_complete(self) -> None:
        """The answer is out; a client that still sends its body, or the next head, is not read for ever."""
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if self._is_unwanted():
            self._set_timer(UNREAD_SECONDS, self.transport.close)
        elif self._is_in_head and not self._is_answering():
            self._await_head()

    def on_message_complete(self) -> None:
        """The body is here, wanted or not; behind one that was not, the connection is idle."""
        was_unwanted = self._is_unwanted()
        super().on_message_complete()
        if was_unwanted:
            self.cycle.more_body = False
            self._stop_timer()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def handle_websocket_upgrade(self) -> None:
        """Leave the connection to the WebSocket protocol, which would keep one whose head it cannot read for ever."""
        super().handle_websocket_upgrade()
        handshake = getattr(self.transport.get_protocol(), "conn", None)
        if handshake is not None and handshake.handshake_exc is not None:
            error = RequestError("this opens no WebSocket; send no body, and at most 128 headers of 8 KiB each")
            error.code = "invalid_http"
            self._refuse(error)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        error = RequestError("this is no valid HTTP/1.1; send one `content-length` or chunks, and plain headers")
        error.code = "invalid_http"
        self._refuse(error)

    def _await_head(self) -> None:
        self._set_timer(self.read_config().header_seconds, self._head_is_late)

    def _head_is_late(self) -> None:
        seconds = self.read_config().header_seconds
        self._refuse(HeadTooSlow(f"the request's head did not arrive within {seconds:g} seconds; send it faster"))

    def _set_timer(self, seconds: float, then: Callable[[], None]) -> None:
        """Do `then` in so many seconds, and nothing else that was planned."""
        self._stop_timer()
        self._unset_keepalive_if_required()
        self._timer = self.loop.call_later(seconds, then)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, error: FiresteelError) -> None:
        """Answer with `error` and close. The path may not be known yet; then it is OpenAI's format."""
        self._stop_timer()
        if self.transport.is_closing():
            return
        if self._is_amid_answer():  # there is no place for words
            self.transport.close()
            return
        url = getattr(self, "url", b"")
        body = encode_error(error, "messages" if url.startswith(b"/v1/messages") else "chat")
        head = [
            f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}",
            "content-type: application/json",
            f"content-length: {len(body)}",
            "connection: close",
        ]
        if isinstance(error, Overloaded):
            head.append(f"retry-after: {error.retry_after:.0f}")
        self.transport.write("\r\n".join([*head, "", ""]).encode() + body)
        self.transport.close()

    def _is_answering(self) -> bool:
        """Return whether a request is here that is not answered yet; the newest is answered last."""
        return self.cycle is not None and not self.cycle.response_complete

    def _is_unwanted(self) -> bool:
        """Return whether what comes now is the rest of a request that is answered already."""
        return self.cycle is not None and self.cycle.response_complete and self.cycle.more_body

    def _is_amid_answer(self) -> bool:
        """Return whether what is written now would be read as a part of another answer, or as one more."""
        if not self._is_answering():
            return self._is_unwanted()
        return self.cycle.response_started or self._is_in_head or bool(self.pipeline)


def limited(read_config: Callable[[], ServerConfig]) -> type[LimitedProtocol]:
    """Return the protocol class of a server whose limits `read_config` returns."""
    return type("Protocol", (LimitedProtocol,), {"read_config": staticmethod(read_config)})
