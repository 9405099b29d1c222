"""One Hyperscan automaton for everything that is looked for in every token: arms of rules, roots of sinks, secrets.

Compiled once a process (about a tenth of a second) and shared; each guard has a stream of its own.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from firesteel.guard.rules.base import ALL_LANGUAGES
from firesteel.guard.rules.catalogue import RULES
from firesteel.guard.secrets import ARMS as SECRET_ARMS
from firesteel.guard.secrets import KEYWORD_ARMS

ROOT_WORDS = [
    "os",
    "subprocess",
    "pickle",
    "cPickle",
    "yaml",
    "hashlib",
    "shutil",
    "marshal",
    "ssl",
    "tempfile",
    "child_process",
    "cursor",
    "cur",
    "crypto",
    "Runtime",
    "YAML",
    "Marshal",
    "requests",
    "httpx",
    "axios",
    "innerHTML",
]
CAUSES = (
    r"(?i)\b(?:sql|query|stmt|statement|cmd|command)\w*\s*\+?=[^=]",
    r"(?i)[\"'`]\s*(?:select|insert|update|delete|drop|alter|create)\s",
)


@dataclass(frozen=True, slots=True)
class Pattern:
    """What a hit means: an arm is worth parsing for, a root is worth waiting for, a secret is worth a second look."""

    kind: Literal["arm", "root", "cause", "secret", "keyword"]
    languages: frozenset[str]
    at_end: bool = False
    secret: int = -1


@dataclass(frozen=True, slots=True)
class Automaton:
    """The compiled database, and what the hits of each pattern mean."""

    database: Any
    patterns: tuple[Pattern, ...]


@cache
def automaton() -> Automaton:
    """Return the automaton of all patterns, compiled when first asked for."""
    import hyperscan

    expressions, patterns = _collect()
    database = hyperscan.Database(mode=hyperscan.HS_MODE_STREAM)
    encoded = [expression.encode() for expression in expressions]
    database.compile(
        expressions=encoded, ids=list(range(len(encoded))), elements=len(encoded), flags=[0] * len(encoded)
    )
    return Automaton(database, tuple(patterns))


def _collect() -> tuple[list[str], list[Pattern]]:
    arms: dict[tuple[str, bool], set[str]] = {}
    for rule in RULES:
        for sink in rule.sinks:
            for pattern in sink.patterns():
                arms.setdefault((pattern, sink.at_end), set()).update(sink.languages)
    expressions = [pattern for pattern, _ in arms]
    patterns = [Pattern("arm", frozenset(languages), at_end) for (_, at_end), languages in arms.items()]
    for word in ROOT_WORDS:
        expressions.append(rf"\b{word}\." if word != "innerHTML" else r"\.innerHTML")
        patterns.append(Pattern("root", ALL_LANGUAGES))
    for cause in CAUSES:
        expressions.append(cause)
        patterns.append(Pattern("cause", ALL_LANGUAGES))
    for index, expression in enumerate(SECRET_ARMS):
        expressions.append(expression)
        patterns.append(Pattern("secret", ALL_LANGUAGES, secret=index))
    for expression in KEYWORD_ARMS:
        expressions.append(expression)
        patterns.append(Pattern("keyword", ALL_LANGUAGES))
    return expressions, patterns
