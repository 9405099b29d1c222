"""`GET /health`."""

from typing import Literal

import msgspec


class Health(msgspec.Struct, kw_only=True):
    """Whether requests are answered."""

    status: Literal["ok", "loading", "restarting"]
    model: str
    engine_restarts: int
