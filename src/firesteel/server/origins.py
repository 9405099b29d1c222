"""Which web pages may call: those of `cors.origins`, and the server's own. A page tells its origin in a header.

Without this, any page that a developer opens could use the server on that developer's machine: a browser sends such
requests, and WebSockets too, and only hides the answers of the former.
"""

import ipaddress
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from firesteel.errors import ForeignOrigin
from firesteel.service.headers import LIMIT_HEADERS
from firesteel.wire.errors import encode_error

EXPOSED = (  # to pages, each by its name: there is no `x-*`
    "x-request-id",
    "request-id",
    "openai-processing-ms",
    "retry-after",
    "x-firesteel-queue-position",
    "x-firesteel-queue-seconds",
    *LIMIT_HEADERS,
)


class Origins:
    """ASGI middleware. `allowed` returns the origins as they are now; `*` is all of them."""

    def __init__(self, app: ASGIApp, allowed: Callable[[], tuple[str, ...]]) -> None:
        self._app = app
        self._allowed = allowed
        self._built: tuple[str, ...] = ()
        self._cors: ASGIApp = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what comes from no page, or from one that may call."""
        origin = Headers(scope=scope).get("origin") if scope["type"] in ("http", "websocket") else None
        if origin is None:
            await self._app(scope, receive, send)
            return
        allowed = self._allowed()
        if "*" in allowed or origin in allowed:
            await self._with_cors(allowed)(scope, receive, send)
        elif is_own(origin, Headers(scope=scope).get("host", "")):
            await self._app(scope, receive, send)
        else:
            await _refuse(scope, receive, send, origin)

    def _with_cors(self, allowed: tuple[str, ...]) -> ASGIApp:
        if allowed != self._built:
            methods, headers = ("GET", "POST", "DELETE"), ("*",)
            self._cors = CORSMiddleware(
                self._app, allowed, allow_methods=methods, allow_headers=headers, expose_headers=EXPOSED
            )
            self._built = allowed
        return self._cors


def is_own(origin: str, host: str) -> bool:
    """Return whether `origin` is the server itself, called by an address: a name could be anybody's (DNS rebinding)."""
    parts = urlsplit(origin)
    if parts.netloc.lower() != host.lower() or parts.hostname is None:
        return False
    try:
        ipaddress.ip_address(parts.hostname)
    except ValueError:
        return parts.hostname == "localhost"
    return True


async def _refuse(scope: Scope, receive: Receive, send: Send, origin: str) -> None:
    error = ForeignOrigin(f"pages of {origin!r:.100} may not call this server; add the origin to its `cors.origins`")
    kind = "messages" if scope["path"].startswith("/v1/messages") else "chat"
    response = Response(encode_error(error, kind), error.status, media_type="application/json")
    if scope["type"] == "websocket":
        await WebSocket(scope, receive, send).send_denial_response(response)
    else:
        await response(scope, receive, send)
