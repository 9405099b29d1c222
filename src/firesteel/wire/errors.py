"""Errors as OpenAI writes them: `{"error": {message, type, param, code}}`, always all four keys."""

import msgspec

from firesteel.errors import ContextTooLong, EngineFailure, FiresteelError, NotReady, Overloaded, RequestError
from firesteel.types import Failure


class ErrorDetail(msgspec.Struct, kw_only=True):
    """What went wrong. `param` is the field at fault."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorEnvelope(msgspec.Struct):
    """The body of every response that is not a success, and the last SSE event of a failed stream."""

    error: ErrorDetail


class AnthropicError(msgspec.Struct):
    """What went wrong, in Anthropic's words."""

    type: str
    message: str


class AnthropicErrorEnvelope(msgspec.Struct, tag="error"):
    """The same for `/v1/messages`; in a stream, the event `error`."""

    error: AnthropicError


_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    431: "request_too_large",
    503: "overloaded_error",
    504: "timeout_error",
}


def encode_error(error: FiresteelError, kind: str = "chat") -> bytes:
    """Return `error` as JSON, as the wire format of `kind` (`Request.kind`) writes it."""
    if kind == "messages":
        type = _ANTHROPIC_TYPES.get(error.status, "api_error")
        return msgspec.json.encode(AnthropicErrorEnvelope(AnthropicError(type, error.message)))
    detail = ErrorDetail(message=error.message, type=error.type, param=error.param, code=error.code)
    return msgspec.json.encode(ErrorEnvelope(detail))


def error_of(failure: Failure) -> FiresteelError:
    """Return the exception that an engine's `failure` stands for; `EngineFailure` with its code otherwise."""
    if failure.code == ContextTooLong.code:
        return ContextTooLong(failure.message)
    if failure.code == RequestError.code:  # such as a grammar that only the engine could find fault with
        return RequestError(failure.message)
    for overload in (Overloaded, NotReady):
        if failure.code == overload.code:
            return overload(failure.message, retry_after=1.0)
    error = EngineFailure(failure.message)
    error.code = failure.code
    return error
