"""Errors that reach no answer of their own: of keys, paths, methods, and ours."""

import logging
from collections.abc import Mapping
from math import ceil
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from firesteel.errors import FiresteelError, Overloaded, RequestError, internal
from firesteel.wire.errors import encode_error

log = logging.getLogger("firesteel")


async def _error(request: Request, error: Exception) -> Response:
    assert isinstance(error, FiresteelError)
    headers = {"x-request-id": getattr(request.state, "request_id", "")}
    if isinstance(error, Overloaded):
        headers["retry-after"] = str(max(1, ceil(error.retry_after)))
    return Response(encode_error(error, _kind(request)), error.status, headers, media_type="application/json")


async def _http_error(request: Request, error: Exception) -> Response:
    """Put unknown paths and methods into the same shape as every other error."""
    assert isinstance(error, HTTPException)
    allowed = methods_of(request.url.path, _routes(request))
    headers = {"allow": ", ".join(allowed)} if error.status_code == 405 else dict(error.headers or {})
    known = ", ".join(f"{'/'.join(sorted(route.methods or ()))} {route.path}" for route in _routes(request))
    wrapped = RequestError(f"{request.method} {request.url.path}: {error.detail}. There is: {known}")
    wrapped.code = "not_found" if error.status_code == 404 else "method_not_allowed"
    body = encode_error(wrapped, _kind(request))
    return Response(body, error.status_code, headers, media_type="application/json")


def methods_of(path: str, routes: list[Route]) -> list[str]:
    """Return the methods that `path` takes; what serves it may be several routes of one pattern."""
    served = next((route.path for route in routes if route.path_regex.match(path)), None)
    return sorted({method for route in routes if route.path == served for method in route.methods or ()})


async def _our_fault(request: Request, error: Exception) -> Response:
    return Response(encode_error(internal(error), _kind(request)), 500, media_type="application/json")


def fault_of(error: Exception) -> FiresteelError:
    """Return what a client is told of `error`; one that nobody raised on purpose is logged."""
    if isinstance(error, FiresteelError):
        return error
    log.error("internal error", exc_info=error)
    return internal(error)


def _kind(request: Request) -> str:
    """Return the kind of request whose wire format an error is written in."""
    return "messages" if request.url.path.startswith("/v1/messages") else "chat"


def _routes(request: Request) -> list[Route]:
    return [route for route in request.app.routes if isinstance(route, Route)]


HANDLERS: Mapping[Any, Any] = {FiresteelError: _error, HTTPException: _http_error, Exception: _our_fault}
