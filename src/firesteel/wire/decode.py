"""JSON bytes to a request struct, strictly, with errors that name the field and the remedy."""

import difflib
import re
from enum import Enum
from functools import lru_cache
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec

from firesteel.errors import RequestError
from firesteel.wire.fields import annotations

T = TypeVar("T", bound=msgspec.Struct)

_PLACE = re.compile(r" - at .*?`\$([^`]*)`$", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`$", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`$")
_INDEX = re.compile(r"\[[^\]]*\]")


def decode(body: bytes, struct: type[T]) -> T:
    """Return the `struct` that `body` holds as JSON.

    Raises `RequestError` when it is not UTF-8, not JSON, nested too deeply, has a field that is not known
    (the nearest known one is named) or a value of the wrong type or range.
    """
    try:
        decoded: T = _decoder(struct).decode(body)
        return decoded
    except msgspec.ValidationError as error:
        raise _explain(str(error), struct) from None
    except UnicodeDecodeError:
        raise RequestError("the body is not valid UTF-8; send JSON in UTF-8", code="invalid_json") from None
    except msgspec.DecodeError as error:
        raise RequestError(f"the body is not valid JSON: {error}; send one JSON object", code="invalid_json") from None
    except RecursionError:
        message = "the body is nested too deeply; send it with fewer levels"
        raise RequestError(message, code="invalid_json") from None


def convert(value: object, struct: type[T], path: str) -> T:
    """Return the `struct` that `value`, a part of a decoded body at `path`, holds. Raises as `decode` does."""
    try:
        return msgspec.convert(value, struct)
    except msgspec.ValidationError as error:
        raise _explain(str(error), struct, path) from None


@lru_cache
def _decoder(struct: type[T]) -> msgspec.json.Decoder[T]:
    return msgspec.json.Decoder(struct)


def _explain(text: str, struct: type[msgspec.Struct], root: str = "") -> RequestError:
    """Turn msgspec's one-line message into an error that says what to send instead; `struct` stands at `root`."""
    found = _PLACE.search(text)
    parent = found[1].lstrip(".") if found else ""
    what = text[: found.start()] if found else text
    if unknown := _UNKNOWN.match(what):
        return _unknown_field(unknown[1][:80], parent, struct, root)
    if missing := _MISSING.match(what):
        param = _join(root, _join(parent, missing[1]))
        return RequestError(f"`{param}` is missing; send it", param=param, code="missing_required_parameter")
    place = _join(root, parent)
    if not place:
        return RequestError(f"the body is not a JSON object: {what}")
    return RequestError(f"`{place}`: {what}{_allowed(parent, struct)}", param=place)


def _unknown_field(name: str, parent: str, struct: type[msgspec.Struct], root: str) -> RequestError:
    prefix = _INDEX.sub("", parent)
    siblings = [path.rpartition(".")[2] for path in annotations(struct) if path.rpartition(".")[0] == prefix]
    near = difflib.get_close_matches(name, siblings, n=1)
    remedy = f"did you mean `{_join(root, _join(parent, near[0]))}`?" if near else "remove it"
    param = _join(root, _join(parent, name))
    return RequestError(f"`{param}` is not a known field; {remedy}", param=param, code="unknown_parameter")


def _allowed(path: str, struct: type[msgspec.Struct]) -> str:
    """Name the values that a field with a fixed set of values may have."""
    values = _literals(annotations(struct).get(_INDEX.sub("", path)))
    return f"; send one of {', '.join(map(repr, values))}" if values else ""


def _literals(annotation: object) -> list[Any]:
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return [member.value for member in annotation]
    return [value for argument in get_args(annotation) for value in _literals(argument)]


def _join(parent: str, name: str) -> str:
    return f"{parent}.{name}" if parent else name
