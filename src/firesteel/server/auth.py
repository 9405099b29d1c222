"""Who may call: one key for all, from `FIRESTEEL_API_KEY`. Without it the server stays on this machine."""

import hmac
import ipaddress

from starlette.requests import Request

from firesteel.errors import ConfigError, Unauthorized


def check_bind(host: str, api_key: str | None) -> None:
    """Raise ConfigError when `host` is reachable from elsewhere and no key protects it."""
    if not (api_key or is_loopback(host)):
        raise ConfigError(f"refusing to listen on {host} without a key: set FIRESTEEL_API_KEY, or listen on 127.0.0.1")


def is_loopback(host: str) -> bool:
    """Return whether `host` can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_key(request: Request, api_key: str | None) -> None:
    """Raise Unauthorized unless the request carries the key, or none is needed."""
    if api_key is None:
        return
    scheme, _, sent = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(sent.strip().encode(), api_key.encode()):
        raise Unauthorized("send the server's key as `Authorization: Bearer KEY` (FIRESTEEL_API_KEY)")
