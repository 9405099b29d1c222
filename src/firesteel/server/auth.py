"""Who may call: holders of a key in `FIRESTEEL_API_KEY`. Without any the server stays on this machine."""

import hmac
import ipaddress
from hashlib import blake2b

from starlette.requests import HTTPConnection

from firesteel.errors import ConfigError, Unauthorized


def check_bind(host: str, api_keys: tuple[str, ...]) -> None:
    """Raise ConfigError when `host` is reachable from elsewhere and no key protects it."""
    if not (api_keys or is_loopback(host)):
        raise ConfigError(f"refusing to listen on {host} without a key: set FIRESTEEL_API_KEY, or listen on 127.0.0.1")


def is_loopback(host: str) -> bool:
    """Return whether `host` can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def scope_of(request: HTTPConnection, api_keys: tuple[str, ...]) -> str:
    """Return whose warm state serves the request: the hash of its key, "" where none is needed.

    Raises Unauthorized when it carries none of `api_keys`. Takes the same time whichever key it is.
    """
    if not api_keys:
        return ""
    scheme, _, sent = request.headers.get("authorization", "").partition(" ")
    if not scheme:  # as Anthropic's clients send it
        scheme, sent = "bearer", request.headers.get("x-api-key", "")
    key = sent.strip(" \t").encode("latin-1")  # the bytes that were sent
    matches = [hmac.compare_digest(key, known.encode()) for known in api_keys]
    if scheme.lower() != "bearer" or not any(matches):
        raise Unauthorized(
            "send the server's key as `Authorization: Bearer KEY` or `x-api-key: KEY` (FIRESTEEL_API_KEY)"
        )
    return scope_of_key(key)


def scope_of_key(key: bytes) -> str:
    """Return the name of what belongs to a key, which does not tell the key."""
    return blake2b(key, digest_size=8, person=b"firesteel").hexdigest()
