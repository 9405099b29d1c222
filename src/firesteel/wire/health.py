"""`GET /health`."""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

HealthStatus = Literal["ok", "degraded", "loading", "restarting"]


class Health(msgspec.Struct, kw_only=True):
    """Whether requests are answered. `broken_rules` are those of the guard that do not find their own examples."""

    status: HealthStatus
    model: str
    engine_restarts: int
    guard: Literal["off", "on", "broken"] = "off"
    broken_rules: tuple[str, ...] | UnsetType = UNSET


def health_of(model: str, num_restarts: int, is_ready: bool, is_guarded: bool, broken_rules: tuple[str, ...]) -> Health:
    """Return what is to be said of a server: it is degraded while its guard does not find its own examples."""
    status: HealthStatus = "restarting" if num_restarts else "loading"
    if is_ready:
        status = "degraded" if broken_rules else "ok"
    return Health(
        status=status,
        model=model,
        engine_restarts=num_restarts,
        guard="broken" if broken_rules else "on" if is_guarded else "off",
        broken_rules=broken_rules or UNSET,
    )
