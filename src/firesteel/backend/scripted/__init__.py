"""A deterministic fake model that ships: tests, docs, demos and benchmarks need no weights."""

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
