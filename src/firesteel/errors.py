"""The exception tree. Exceptions are for users and their data; asserts are for our own bugs.

    FiresteelError                 everything we raise on purpose
    ├── RequestError          400  a request that cannot be honoured; names the field and the remedy
    │   ├── UnknownModel      404
    │   ├── ResponseNotFound  404
    │   └── ContextTooLong    400  code context_length_exceeded
    ├── Unauthorized          401
    ├── Forbidden             403  the key may not do this; names the scope or the model
    ├── BodyTooLarge          413
    ├── Overloaded            503  the bounded queue is full; carries retry_after in seconds
    │   ├── RateLimited       429  the key has used up its limit; carries the headers that say so
    │   └── NotReady          503  still loading, or shutting down
    ├── EngineFailure         500  the engine (or its process) failed in the middle of a request
    ├── ModelError                 a model file that is missing, damaged or not understood
    │   └── PullError              every source of a model failed; the message lists each one's reason
    ├── GuardFailure               the guard itself failed, so that its silence means nothing
    └── ConfigError                a setting that cannot work on this machine

Every class carries the HTTP status, the OpenAI error type and code, so the server needs no mapping.
"""


class FiresteelError(Exception):
    """Root of the tree. `status`, `type` and `code` are what an HTTP client is told."""

    status = 500
    type = "server_error"
    code: str | None = None

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


class RequestError(FiresteelError):
    """A request that cannot be honoured. The message names the field and says what to send instead."""

    status = 400
    type = "invalid_request_error"
    code: str | None = "invalid_value"

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message, param=param)
        if code is not None:
            self.code = code


class UnknownModel(RequestError):
    """The request names a model that this server does not serve."""

    status = 404
    code = "model_not_found"


class ResponseNotFound(RequestError):
    """There is no such response, or none that this client may see."""

    status = 404
    code = "response_not_found"


class ContextTooLong(RequestError):
    """Prompt and answer together do not fit into the context."""

    code = "context_length_exceeded"


class Unauthorized(FiresteelError):
    """The request carries no valid API key."""

    status = 401
    type = "authentication_error"

    def __init__(self, message: str, *, code: str = "invalid_api_key") -> None:
        super().__init__(message)
        self.code = code


class Forbidden(FiresteelError):
    """The key is valid, and may not do this."""

    status = 403
    type = "permission_error"

    def __init__(self, message: str, *, code: str, param: str | None = None) -> None:
        super().__init__(message, param=param)
        self.code = code


class BodyTooLarge(FiresteelError):
    """The request body exceeds the limit."""

    status = 413
    type = "invalid_request_error"
    code = "body_too_large"


class HeadTooLarge(FiresteelError):
    """The head of the request exceeds the limit."""

    status = 431
    type = "invalid_request_error"
    code = "headers_too_large"


class HeadTooSlow(FiresteelError):
    """The head of the request did not arrive in time."""

    status = 408
    type = "invalid_request_error"
    code = "request_timeout"


class BodyTooSlow(HeadTooSlow):
    """The body of the request did not arrive in time."""


class TookTooLong(FiresteelError):
    """The answer was not complete within the server's time limit."""

    status = 504
    type = "server_error"
    code = "time_limit"


class ForeignOrigin(FiresteelError):
    """A web page calls that is not allowed to."""

    status = 403
    type = "permission_error"
    code = "origin_not_allowed"


class Overloaded(FiresteelError):
    """The bounded queue is full. `retry_after` is in seconds."""

    status = 503
    type = "server_error"
    code = "server_is_overloaded"

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RateLimited(Overloaded):
    """The key has used up its limit; `type` says which one, requests or tokens. `retry_after` is in seconds."""

    status = 429
    code = "rate_limit_exceeded"

    def __init__(self, message: str, *, type: str, retry_after: float) -> None:
        super().__init__(message, retry_after=retry_after)
        self.type = type


class NotReady(Overloaded):
    """The server is still loading its model, or is shutting down."""

    code = "server_not_ready"


class EngineFailure(FiresteelError):
    """The engine failed in the middle of a request; the request may be sent again."""

    code = "engine_failure"


class ModelError(FiresteelError):
    """A model file that is missing, damaged or not understood."""

    code = "model_error"


class PullError(ModelError):
    """Every source of a model failed; the message lists what each one said."""


class GuardFailure(FiresteelError):
    """The guard itself failed, so that its silence means nothing."""

    code = "guard_failure"


class ConfigError(FiresteelError):
    """A setting that cannot work on this machine."""

    code = "config_error"


def internal(error: Exception) -> FiresteelError:
    """Return what a client is told of an `error` that nobody raised on purpose."""
    return FiresteelError(f"internal error ({type(error).__name__}); this is a bug in Firesteel")
