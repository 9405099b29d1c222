"""Firesteel: a latency-first coding engine. ARCHITECTURE.md maps the code.

`open_chat(Settings(engine=EngineConfig(...)))` is a conversation that can be steered, see docs/how-to/steer.md.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from firesteel.cli.chat.loading import Settings
    from firesteel.cli.talk import open_chat
    from firesteel.config import EngineConfig

__all__ = ["EngineConfig", "Settings", "open_chat"]
__version__ = "0.1.0"

_MODULES = {
    "EngineConfig": "firesteel.config",
    "Settings": "firesteel.cli.chat.loading",
    "open_chat": "firesteel.cli.talk",
}


def __getattr__(name: str) -> Any:
    """Import what is public when it is first used: the command line must start fast."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
