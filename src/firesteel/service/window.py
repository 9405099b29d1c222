"""A limit on the last minute, exact to the second: pure functions over what was granted in each second.

Counting the 61 whole seconds that a minute can touch, no minute ever holds more than the limit.
"""

from collections.abc import Mapping

MINUTE = 60

Amounts = Mapping[int, int]  # granted, by the second in which it was


def kept(amounts: Amounts, second: int) -> dict[int, int]:
    """Return the part of `amounts` that still counts in `second`."""
    return {then: amount for then, amount in amounts.items() if then >= second - MINUTE}


def used(amounts: Amounts, second: int) -> int:
    """Return how much of the limit is used in `second`."""
    return sum(kept(amounts, second).values())


def wait_seconds(amounts: Amounts, limit: int, amount: int, now: float) -> float:
    """Return the seconds from `now` until `amount`, which is not above `limit`, can be granted."""
    counted = kept(amounts, int(now))
    excess = sum(counted.values()) + amount - limit
    seconds = 0.0
    for second in sorted(counted):
        if excess <= 0:
            break
        excess -= counted[second]
        seconds = _gone_at(second) - now
    return seconds


def reset_seconds(amounts: Amounts, now: float) -> float:
    """Return the seconds from `now` until nothing of the limit is used."""
    counted = kept(amounts, int(now))
    return _gone_at(max(counted)) - now if counted else 0.0


def _gone_at(second: int) -> int:
    return second + MINUTE + 1
