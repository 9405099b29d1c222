"""Known-bad snippets that the guard must find before it is trusted: a broken guard must not look like a calm one."""

from functools import cache

from firesteel.guard import languages
from firesteel.guard.patterns import automaton
from firesteel.guard.rules.catalogue import RULES
from firesteel.guard.scan import scan


def warm() -> None:
    """Compile the patterns of every language before anything waits for them: 2 s, 20 ms where they are kept."""
    for language in (None, *sorted(languages.PARSED)):
        automaton(language)


@cache
def missed() -> tuple[str, ...]:
    """Return the rules whose own bad examples are not found, sorted; empty when the guard works.

    Looks at one example of each rule: half a second where nothing is compiled yet, then 10 ms. A failure to start at
    all is a miss of every rule.
    """
    broken = []
    for rule in RULES:
        example = rule.examples[0]
        try:
            found = scan(example.bad, example.language)
        except Exception:  # a library that does not load, a pattern that does not compile: all the same to who asks
            found = []
        if all(each.rule != rule.id for each in found):
            broken.append(rule.id)
    return tuple(sorted(broken))
