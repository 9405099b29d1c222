"""One window of source code through the rules: parse, find places, ask the checks.

A window is the function around a statement, or the last lines where there is none. What is open at its end is closed
for the parser, so that a call with a callback can be judged when the callback begins. Offsets are bytes of the window.
"""

import re
from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from firesteel.guard import syntax
from firesteel.guard.evaluate import Evaluator
from firesteel.guard.imports import Imports
from firesteel.guard.rules.base import Match, Rule, Sink
from firesteel.guard.rules.catalogue import sinks_of
from firesteel.guard.site import Site, sites

MAX_OPEN = 40
OPENED = re.compile(  # Ruby: what an `end` will close
    rb"(?m)^[ \t]*(?:\w[\w.@\[\]]*[ \t]*(?:\|\||[+&])?=[ \t]*)?"
    rb"(?:def|class|module|if|unless|while|until|for|case|begin)\b(?![^\n]*;[ \t]*end\b)|"
    rb"\bdo(?:[ \t]*\|[^|\n]*\|)?[ \t]*$"
)
ENDED = re.compile(rb"(?m)^[ \t]*end\b")


class Result(Struct, frozen=True):
    """A rule's match at bytes `start` to `end` of the window."""

    rule: Rule
    start: int
    end: int
    match: Match


def analyse(
    language: str, window: bytes, closers: bytes, start: int, *, at_end: bool, imports: Imports | None = None
) -> list[Result]:
    """Return what the rules find in the places of `window` that end behind byte `start`, in order.

    `at_end` asks the rules that need the whole function, else those that do not. `imports` says what names stand for.
    Where the window is too much work for the parser, the statement is judged alone, and then nothing.
    """
    root = syntax.parsed(language, window + closers + b"\nend" * (open_blocks(window) if language == "ruby" else 0))
    if root is None:
        return _alone(language, window, closers, start, imports) if start else []
    evaluator = Evaluator(root, window, language, imports)
    sinks = sinks_of(language)
    found: dict[tuple[str, int], Result] = {}
    for site in sites(root, evaluator, start, len(window) + 1):
        if site.node.start_byte >= len(window):
            continue
        for rule, sink in _candidates(sinks, site):
            if sink.at_end != at_end or not sink.fits(site):
                continue
            match = sink.check(site)
            key = (rule.id, _line_of(window, site.node.start_byte))
            if match is not None and _is_stronger(match, found.get(key)):
                end = min(site.node.end_byte, len(window))
                found[key] = Result(rule, site.node.start_byte, end, match)
    return sorted(found.values(), key=lambda result: (result.start, result.rule.id))


def open_blocks(window: bytes) -> int:
    """Return how many blocks of Ruby are open at the end of a window: without their `end` no parameter is known."""
    return min(MAX_OPEN, max(0, len(OPENED.findall(window)) - len(ENDED.findall(window))))


def _alone(language: str, window: bytes, closers: bytes, start: int, imports: Imports | None) -> list[Result]:
    found = analyse(language, window[start:], closers, 0, at_end=False, imports=imports)
    return [
        replace(
            each,
            start=each.start + start,
            end=each.end + start,
            match=replace(each.match, cause=each.match.cause + start) if each.match.cause is not None else each.match,
        )
        for each in found
    ]


def _candidates(sinks: dict[tuple[str, str], list[tuple[Rule, Sink]]], site: Site) -> Iterator[tuple[Rule, Sink]]:
    last = site.last
    yield from sinks.get((site.kind, last), ())
    yield from sinks.get((site.kind, ""), ())
    if site.kind == "assign" and site.name.endswith("]"):  # process.env["X"] = ...
        yield from sinks.get((site.kind, last.split("[")[-1].strip("\"']")), ())


def _is_stronger(match: Match, known: Result | None) -> bool:
    if known is None:
        return True
    mine, theirs = match.action or known.rule.action, known.match.action or known.rule.action
    return mine.rank > theirs.rank


def _line_of(window: bytes, offset: int) -> int:
    return window.rfind(b"\n", 0, offset)
