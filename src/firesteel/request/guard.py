"""What a request says about its guard: in the body's `firesteel.guard`, else in the header `x-firesteel-guard`."""

from collections.abc import Mapping
from typing import Any, get_args

from firesteel.errors import RequestError
from firesteel.verdict import GuardWish, Level
from firesteel.wire.guard import FiresteelBody

HEADER = "x-firesteel-guard"
MODES = ("on", "live", "off")
LEVELS = get_args(Level)


def guard_of(body: FiresteelBody | None, headers: Mapping[str, str]) -> GuardWish | None:
    """Return what is asked for; what both say, the body decides. Raises RequestError for a header without sense."""
    said = _header(headers.get(HEADER, ""))
    if body is not None and body.guard is not None:
        given = body.guard
        values = {name: getattr(given, name) for name in given.__struct_fields__}
        said |= {name: value for name, value in values.items() if value is not None}
    return GuardWish(**said) if said else None


def _header(text: str) -> dict[str, Any]:
    """Return what words such as `live, block` mean."""
    said: dict[str, Any] = {}
    for word in filter(None, (part.strip().lower() for part in text.split(","))):
        if word not in MODES + LEVELS:
            known = ", ".join(MODES + LEVELS)
            raise RequestError(f"header `{HEADER}`: {word!r} is not known; send some of {known}", param=HEADER)
        said["mode" if word in MODES else "level"] = word
    return said
