"""Hyperscan automata for what is looked for in every token: arms of rules, roots of sinks, secrets.

One for each language, and one for text without a language, which knows secrets only. Each is shared, and kept on disk
from one start to the next; each guard has a stream of its own.
"""

import re
from functools import cache
from typing import Any, Literal, NamedTuple

from firesteel.guard.compiled import database
from firesteel.guard.rules.catalogue import RULES
from firesteel.guard.secrets import ARMS as SECRET_ARMS
from firesteel.guard.secrets import KEYWORD_ARMS

ROOTS = (  # what sinks begin with: text waits until it is known whether one comes
    r"(?:os|subprocess|pickle|cPickle|yaml|hashlib|shutil|marshal|tempfile|child_process|cursor|cur|crypto|Runtime|YAML|Marshal|"
    r"requests|httpx|axios|eval|random|Math|childProcess|Crypto|DES|strcpy|gets|sprintf|innerHTML|outerHTML)"
)
CAUSE_NAMES = r"(?:sql|query|stmt|statement|cmd|command)"  # what holds the text that a sink will take
CAUSES = (
    rf"(?i)\b{CAUSE_NAMES}\w*\s*(?::\s*\w+\s*)?[+:.]?=[^=]",
    r"(?i)[\"'`]\s*(?:select|insert|update|delete|drop|alter|create)\s",
)


# The end of an open line of which a candidate may still come.
OPEN_ROOT = re.compile(
    rf"(?<![\w.]){ROOTS}(?:\.[\w.]*)?$|\.(?:inner|outer)HTML\s*\+?=?$|(?i:(?<![\w.]){CAUSE_NAMES}\w*\s*(?::\s*\w*\s*)?[+:.]?=?$)"
)


class Pattern(NamedTuple):
    """What a hit means: an arm is worth parsing for, a root is worth waiting for, a secret is worth a second look."""

    kind: Literal["arm", "end_arm", "root", "cause", "secret", "keyword"]
    secret: int = -1


class Automaton(NamedTuple):
    """The compiled database, and what the hits of each pattern mean."""

    database: Any
    patterns: tuple[Pattern, ...]


@cache
def automaton(language: str | None) -> Automaton:
    """Return the automaton of a language, None for text without one."""
    found = _collect(language)
    kept = database(language or "text", [expression for expression, _ in found])
    return Automaton(kept, tuple(pattern for _, pattern in found))


def _collect(language: str | None) -> list[tuple[str, Pattern]]:
    found = [(expression, Pattern("secret", index)) for index, expression in enumerate(SECRET_ARMS)]
    found += [(expression, Pattern("keyword")) for expression in KEYWORD_ARMS]
    if language is None:
        return found
    found += [(rf"\b{ROOTS}", Pattern("root")), (rf"(?i)\b{CAUSE_NAMES}", Pattern("root"))]
    found += [(expression, Pattern("cause")) for expression in CAUSES]
    arms: dict[tuple[str, bool], None] = {}
    for rule in RULES:
        for sink in rule.sinks:
            if language in sink.languages:
                arms.update(((expression, sink.at_end), None) for expression in sink.patterns(language))
    return found + [(expression, Pattern("end_arm" if at_end else "arm")) for expression, at_end in arms]
