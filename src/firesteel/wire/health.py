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
