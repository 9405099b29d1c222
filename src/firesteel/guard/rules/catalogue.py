"""All rules by id, the sentinel's too, and the sinks of those that were written by language and last part of a name."""

from functools import cache

from firesteel.guard.rules import (
    address,
    archive,
    browser,
    code,
    command,
    credentials,
    crypto,
    data,
    escaping,
    html,
    memory,
    path,
    predictable,
    shell,
    sql,
    system,
    tls,
    xml,
)
from firesteel.guard.rules.base import Rule, Sink
from firesteel.guard.rules.learned import LEARNED

RULES: tuple[Rule, ...] = (
    *credentials.RULES,
    *sql.RULES,
    *command.RULES,
    *code.RULES,
    *path.RULES,
    *archive.RULES,
    *address.RULES,
    *html.RULES,
    *browser.RULES,
    *escaping.RULES,
    *data.RULES,
    *xml.RULES,
    *crypto.RULES,
    *tls.RULES,
    *predictable.RULES,
    *system.RULES,
    *memory.RULES,
    *shell.RULES,
)
BY_ID = {rule.id: rule for rule in (*RULES, *LEARNED)}

Sinks = dict[tuple[str, str], list[tuple[Rule, Sink]]]


@cache
def sinks_of(language: str) -> Sinks:
    """Return the sinks of a language by kind of place and last part of its name; "" is for those that take any name."""
    found: Sinks = {}
    for rule in RULES:
        for sink in rule.sinks:
            if language in sink.languages:
                for name in sink.names or ("",):
                    found.setdefault((sink.kind, name), []).append((rule, sink))
    return found
