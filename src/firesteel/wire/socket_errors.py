"""Error frames of the Responses WebSocket: `{"type": "error", "status", "error": {…}}`."""

from collections.abc import Iterable
from math import ceil
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from firesteel.errors import FiresteelError, Overloaded, RequestError


class SocketError(msgspec.Struct, kw_only=True):
    """What went wrong, as in an HTTP body; `headers` are those that such a response would have."""

    type: str
    code: str | None
    message: str
    param: str | None
    headers: dict[str, str] | UnsetType = UNSET


class ErrorFrame(msgspec.Struct, kw_only=True):
    """An error that belongs to a lane, or to the connection."""

    type: str = "error"
    status: int
    error: SocketError
    stream_id: str | UnsetType = UNSET


def error_frame(error: FiresteelError, stream_id: Any = None, more: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
    """Return `error` as a frame of the lane `stream_id`; `more` are headers that an HTTP response would have."""
    headers = {name.decode(): value.decode() for name, value in more}
    if isinstance(error, Overloaded):
        headers["retry-after"] = str(max(1, ceil(error.retry_after)))
    shown = headers or UNSET
    detail = SocketError(type=error.type, code=error.code, message=error.message, param=error.param, headers=shown)
    lane = stream_id if isinstance(stream_id, str) else UNSET
    return msgspec.json.encode(ErrorFrame(status=error.status, error=detail, stream_id=lane))


def invalid_lane(stream_id: object) -> RequestError:
    """Return what is said about a `stream_id` that is no name of a lane."""
    message = f"`stream_id`: {stream_id!r:.80} is no lane; send 1 to 256 letters, digits, `_`, `-` or `.`"
    return RequestError(message, param="stream_id", code="invalid_stream_id")


def too_many_lanes(limit: int) -> RequestError:
    """Return what is said about one lane more than a connection has."""
    message = f"a connection has {limit} lanes; use one of them, or open another connection"
    return RequestError(message, param="stream_id", code="websocket_stream_limit_reached")


def too_many_bytes(limit: int) -> RequestError:
    """Return what is said about a request beyond what a connection may hold."""
    message = f"the unanswered requests of a connection may take {limit} bytes; wait, or open another connection"
    return RequestError(message, code="rate_limit_exceeded")


def connection_expired(seconds: float) -> RequestError:
    """Return what is said when a connection has lived long enough."""
    message = f"a connection lives {seconds / 60:.0f} minutes; open another one"
    return RequestError(message, code="websocket_connection_limit_reached")
