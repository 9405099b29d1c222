"""What settings take: numbers with limits, and what becomes of them."""

from typing import Annotated

from msgspec import Meta

MEGABYTE = 1_000_000

MOST = 1_000_000  # of what is no whole number: seconds, days or dollars; it keeps infinity out, and what overflows

Count = Annotated[int, Meta(ge=1)]
CountOrNone = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(ge=0, le=MOST)]
Positive = Annotated[float, Meta(ge=0.1, le=MOST)]
Price = Annotated[float, Meta(ge=0, le=MOST)]


def megabytes(value: int) -> int:
    """Return the bytes of `value` megabytes."""
    return value * MEGABYTE


def days_or_ever(value: float | None) -> float | None:
    """Return the seconds of `value` days; None is for ever."""
    return None if value is None else days(value)


def days(value: float) -> float:
    """Return the seconds of `value` days."""
    return value * 86_400
