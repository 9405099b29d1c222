"""One row of the table: a setting's key, what it takes, what it is for, and which field of a config it fills."""

from collections.abc import Callable
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

from firesteel.errors import ConfigError

PREFIX = "FIRESTEEL_"
ORIGIN = r"^(\*|[a-z][a-z0-9+.-]*://[^/\s,]+|null)$"
FORMS = {ORIGIN: "SCHEME://HOST[:PORT] without a path, or *"}  # what texts of a form look like, in words


def as_it_is(value: Any) -> Any:
    """Return `value`."""
    return value


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """`takes` is a type that msgspec converts to, with its limits; `field` is `engine.NAME` or `server.NAME`.

    `make` turns what was given into what the field holds. `stands_for` says what the default `None` means.
    """

    name: str
    field: str
    help: str
    takes: Any = str
    default: Any = None
    make: Callable[[Any], Any] = as_it_is
    stands_for: str = ""
    short: tuple[str, ...] = ()  # further names of the flag
    has_flag: bool = True
    is_secret: bool = False  # never shown
    is_address: bool = False  # and a secret only where it is a URL, which may hold a password
    is_live: bool = False  # SIGHUP takes a new value over

    @property
    def variable(self) -> str:
        """The environment variable of this setting."""
        return PREFIX + self.name.upper().replace(".", "_")

    @property
    def flag(self) -> str:
        """The long flag of `firesteel serve`; empty where there is none."""
        return "--" + self.parameter.replace("_", "-") if self.has_flag else ""

    @property
    def parameter(self) -> str:
        """The name as an identifier."""
        return self.name.replace(".", "_")

    @property
    def is_list(self) -> bool:
        """Whether the setting takes several values."""
        return get_origin(self.takes) is tuple

    def convert(self, value: Any, where: str, *, is_text: bool = False) -> Any:
        """Return `value` in the type of this setting; `is_text` reads it from a variable or a flag.

        Raises ConfigError that names the setting, `where` the value stands, and what it takes.
        """
        given = value
        if self.is_list and isinstance(value, str):
            given = [part.strip() for part in value.split(",") if part.strip()]
            if value and not given:
                raise self.refused(value, where, "; it holds none: name one or more, or remove it")
        try:
            return msgspec.convert(given, self.takes, strict=not is_text)
        except msgspec.ValidationError:
            raise self.refused(value, where) from None

    def refused(self, value: Any, where: str, more: str = "") -> ConfigError:
        """Return the error for a `value` that this setting does not take. A secret's value is not repeated."""
        got = "" if self.is_secret else f", not {value!r:.200}"
        return ConfigError(f"{where}: `{self.name}` takes {words(self.takes)}{got}{more}")

    def hides(self, value: Any) -> bool:
        """Return whether `value` is nobody's business."""
        return self.is_secret and bool(value) and (not self.is_address or any(sign in value for sign in "@?"))

    def shown(self, value: Any) -> str:
        """Return `value` as people may see it."""
        if value is None or value == ():
            return self.stands_for or "none"
        if self.hides(value):
            return f"<{len(value)} hidden>" if self.is_list else "<hidden>"
        if isinstance(value, tuple):
            return ",".join(str(part) for part in value)
        return str(value).lower() if isinstance(value, bool) else str(value)


def inner(takes: Any) -> Any:
    """Return `takes` without its `None`."""
    if isinstance(takes, type) or get_origin(takes) not in (Union, type(int | None)):
        return takes
    return next(part for part in get_args(takes) if part is not type(None))


def limits(takes: Any) -> tuple[Any, Any]:
    """Return the least and the greatest number that `takes` allows, `None` where there is no limit."""
    described = msgspec.inspect.type_info(inner(takes))
    return getattr(described, "ge", None), getattr(described, "le", None)


def base(takes: Any) -> Any:
    """Return the plain type behind `takes`: bool, int, float, str, a Literal, or tuple."""
    plain = inner(takes)
    metadata = getattr(plain, "__metadata__", None)
    plain = plain.__origin__ if metadata is not None else plain
    return tuple if get_origin(plain) is tuple else plain


def words(takes: Any) -> str:
    """Return what a setting takes, in words."""
    plain = base(takes)
    if plain is tuple:
        return f"a list of {words(get_args(inner(takes))[0])} (in text separated by commas)"
    if get_origin(plain) is Literal:
        return "one of " + ", ".join(map(str, get_args(plain)))
    least, most = limits(takes)
    number = {int: "a whole number", float: "a number"}.get(plain)
    if number is None:
        pattern: str = getattr(msgspec.inspect.type_info(inner(takes)), "pattern", None) or ""
        return {bool: "true or false"}.get(plain, FORMS.get(pattern, "text"))
    if most is not None:
        return f"{number} from {least} to {most}"
    return number if least is None else f"{number}, at least {least}"
