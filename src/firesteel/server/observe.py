"""Gives every request its record and tells who listens when it is over: the log, the traces."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from firesteel.server.record import Record, current

CLIENT_GONE = 499
FAILED = 500
SWITCHED = 101

Listener = Callable[[Record, Headers], None]


@contextmanager
def observed(record: Record, headers: Headers, listeners: Sequence[Listener]) -> Iterator[None]:
    """Let what happens here be noted in `record`, and tell the listeners at the end."""
    token = current.set(record)
    try:
        yield
    finally:
        current.reset(token)
        for listen in listeners:
            listen(record, headers)


class Observed:
    """ASGI middleware. Without listeners there is no reason to have it."""

    def __init__(self, app: ASGIApp, listeners: Sequence[Listener]) -> None:
        self._app = app
        self._listeners = listeners

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and tell the listeners."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        record = Record(request_id(headers), scope.get("method", "WEBSOCKET"), scope["path"])
        scope.setdefault("state", {})["request_id"] = record.id

        async def told(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                record.status = message["status"]
            elif message["type"] == "websocket.accept":
                record.status = SWITCHED
            await send(message)

        with observed(record, headers, self._listeners):
            try:
                await self._app(scope, receive, told)
            except Exception:
                record.status = record.status or FAILED
                raise
            finally:
                record.route = route_of(scope)
                record.status = record.status or CLIENT_GONE


def route_of(scope: Scope) -> str:
    """Return the path of a request that was routed, with names in place of what stands for them."""
    path: str = scope["path"] if "endpoint" in scope else ""
    for name, value in scope.get("path_params", {}).items():
        path = path.replace(f"/{value}", f"/{{{name}}}")
    return path


def request_id(headers: Headers) -> str:
    """Return the id of a request: the client's own, else a new one."""
    return headers.get("x-request-id", "")[:64] or uuid.uuid4().hex


def current_id() -> str | None:
    """Return the id of the request that is being answered here."""
    record = current.get()
    return record.id if record is not None else None
