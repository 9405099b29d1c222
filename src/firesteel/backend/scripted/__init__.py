"""A deterministic fake model that ships: tests, docs, demos and benchmarks need no weights."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from firesteel.backend.scripted.backend import ScriptedBackend
    from firesteel.backend.scripted.script import Rule, Script, load_script, parse_script
    from firesteel.backend.scripted.tokenizer import CHAT_TEMPLATE, ScriptedTokenizer

__all__ = [
    "CHAT_TEMPLATE",
    "Rule",
    "Script",
    "ScriptedBackend",
    "ScriptedTokenizer",
    "load_script",
    "parse_script",
]

_MODULES = {
    "CHAT_TEMPLATE": "tokenizer",
    "Rule": "script",
    "Script": "script",
    "ScriptedBackend": "backend",
    "ScriptedTokenizer": "tokenizer",
    "load_script": "script",
    "parse_script": "script",
}


def __getattr__(name: str) -> Any:
    """Import what is used when it is used: the server needs the tokenizer, and no numpy (13 MB)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
