"""Parameters of a URL: what they may be, for the routes and for the OpenAPI document. Anything else is a 400."""

from typing import Any

from starlette.requests import HTTPConnection

from firesteel.errors import RequestError

FLAG = {"true": True, "1": True, "false": False, "0": False}


def whole_number(request: HTTPConnection, name: str, default: int, *, least: int, most: int | None = None) -> int:
    """Return the parameter `name`. Raises RequestError."""
    text = request.query_params.get(name)
    if text is None:
        return default
    digits = text.removeprefix("-")
    value = int(text) if digits.isascii() and digits.isdecimal() and len(digits) < 19 else None
    if value is None or value < least or (most is not None and value > most):
        wanted = f"a whole number from {least} to {most}" if most is not None else f"a whole number, at least {least}"
        raise RequestError(f"`{name}` is {text!r:.40}; send {wanted}", param=name)
    return value


def choice(request: HTTPConnection, name: str, values: tuple[str, ...]) -> str:
    """Return the parameter `name`, the first of `values` where it is not sent. Raises RequestError."""
    text: str = request.query_params.get(name, values[0])
    if text not in values:
        raise RequestError(f"`{name}` is {text!r:.40}; send {' or '.join(values)}", param=name)
    return text


def flag(request: HTTPConnection, name: str) -> bool:
    """Return the parameter `name`, false where it is not sent. Raises RequestError."""
    return FLAG[choice(request, name, ("false", *FLAG))]


def number_schema(least: int, most: int | None = None) -> dict[str, Any]:
    """Return the schema of a `whole_number`."""
    return {"type": "integer", "minimum": least} | ({"maximum": most} if most is not None else {})
