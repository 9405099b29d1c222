"""Statements to learn from: labelled pairs, the rules' own examples, and ordinary code, as the guard would see them."""

import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from firesteel.errors import ConfigError
from firesteel.guard import languages
from firesteel.guard.analyse import Result, analyse
from firesteel.guard.files import files_in, read
from firesteel.guard.imports import Imports
from firesteel.guard.policy import Policy
from firesteel.guard.rules.catalogue import RULES
from firesteel.guard.rules.learned import CLASS_OF
from firesteel.guard.sentinel import MAX_BEFORE, features_of, is_rewrite, told
from firesteel.guard.watch import Watch

NUM_FOLDS = 5
SKIPPED = frozenset(("site-packages", "test", "tests", "idlelib", "lib2to3", "turtledemo"))
Side = Literal["vulnerable", "fixed"]


class Pair(msgspec.Struct, frozen=True):
    """A line of the data: code before and after its flaw was mended."""

    language: str
    cwe: str
    vulnerable: str
    fixed: str
    file: str = ""
    vulnerable_spans: tuple[tuple[int, int], ...] = ()


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One armed statement. What shares a `group` falls into one fold; `case` names the pair, "" for other code."""

    group: str
    case: str
    side: Side
    wanted: int  # the class of the pair, 0 for ordinary code
    label: int  # the class that the statement is taught as, -1: it is only measured
    features: tuple[int, ...]
    found: bool  # a rule of the wanted class spoke
    silent: bool  # no rule spoke
    rewritten: bool  # a rule would take it back
    is_ordinary: bool = False  # of code that nobody labelled

    @property
    def fold(self) -> int:
        """The fold in which the statement is held out."""
        return zlib.crc32(self.group.encode()) % NUM_FOLDS


class Seen(msgspec.Struct, frozen=True):
    """A statement as the guard judged it: where it stands, its features, and what the rules said."""

    start: int
    end: int
    features: tuple[int, ...]
    results: list[Result]


class Collector(Watch):
    """Watches a text and keeps what is judged in it, without asking a sentinel."""

    def __init__(self, language: str) -> None:
        super().__init__(language, Policy())
        self.seen: list[Seen] = []
        self.judge = self._collect

    def _collect(
        self, language: str, window: bytes, closers: bytes, start: int, *, at_end: bool, imports: Imports | None = None
    ) -> list[Result]:
        results = analyse(language, window, closers, start, at_end=at_end, imports=imports)
        if not at_end:
            text = window[start:].decode(errors="replace")
            before = window[max(0, start - 4 * MAX_BEFORE) : start].decode(errors="ignore")
            features = tuple(features_of(language, before, text, told(results)))
            end = self.fed
            self.seen.append(Seen(end - len(text), end, features, results))
        return results


def seen_in(text: str, language: str) -> list[Seen]:
    """Return the statements of a text that the guard judges."""
    watch = Collector(language)
    for line in text.splitlines(keepends=True):
        watch.feed(line)
    watch.finish()
    return watch.seen


def read_pairs(folder: Path) -> list[tuple[str, Pair]]:
    """Return the pairs of a folder's `*.jsonl` that are of a class to learn, each with a name. Raises ConfigError."""
    files = sorted(folder.glob("*.jsonl"))
    if not files:
        raise ConfigError(
            f"{folder} holds no *.jsonl: give --data a folder of labelled pairs, one JSON object in each line with "
            '"language", "cwe", "vulnerable", "fixed", "file" and "vulnerable_spans" (SVEN and SafeCoder publish such '
            "pairs under the MIT licence)",
            param="data",
        )
    found = []
    for path in files:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            try:
                pair = msgspec.json.decode(line, type=Pair)
            except msgspec.DecodeError as error:
                raise ConfigError(f"{path}, line {number}: {error}", param="data") from None
            if class_of(pair.cwe) and languages.named(pair.language) in languages.PARSED:
                found.append((f"{path.stem}-{number - 1}", pair))
    return found


def class_of(cwe: str) -> int:
    """Return the class of a CWE, 0 for one that is not learnt."""
    number = re.search(r"\d+", cwe)
    return CLASS_OF.get(int(number[0]), 0) if number else 0


def of_pairs(pairs: Iterable[tuple[str, Pair]]) -> Iterator[Sample]:
    """Yield the samples of both sides of pairs; those of one file share a fold."""
    for name, pair in pairs:
        language, wanted = languages.named(pair.language) or "", class_of(pair.cwe)
        sides: tuple[tuple[Side, str], ...] = (("vulnerable", pair.vulnerable), ("fixed", pair.fixed))
        for side, text in sides:
            spans = pair.vulnerable_spans if side == "vulnerable" else ()
            for each in seen_in(text, language):
                found = any(class_of(result.rule.cwe[0]) == wanted for result in each.results)
                is_bad = any(each.start < end and begin < each.end for begin, end in spans)
                label = 0 if side == "fixed" else wanted if is_bad or found else -1
                yield _sample(each, group=pair.file or name, case=name, side=side, wanted=wanted, label=label)


def of_examples() -> Iterator[Sample]:
    """Yield the samples of the rules' own examples: they are in languages for which there are no pairs."""
    for rule in RULES:
        wanted = class_of(rule.cwe[0])
        for example in rule.examples:
            for side, text in (("vulnerable", example.bad), ("fixed", example.good)):
                for each in seen_in(text, example.language):
                    is_bad = side == "vulnerable" and any(result.rule.id == rule.id for result in each.results)
                    if side == "fixed" or (is_bad and wanted):
                        label = wanted if is_bad else 0
                        yield _sample(each, group=rule.id, case="", side="fixed", wanted=0, label=label)


def of_ordinary(folder: Path) -> Iterator[Sample]:
    """Yield the samples of code that is believed to be good. Raises ConfigError."""
    for path in files_in([str(folder)]):
        inner = path.relative_to(folder)
        language = languages.of_file(path.name)
        text = None if SKIPPED & set(inner.parts) or language not in languages.PARSED else read(path)
        for each in seen_in(text, language) if text else ():
            yield msgspec.structs.replace(
                _sample(each, group=inner.as_posix(), case="", side="fixed", wanted=0, label=0), is_ordinary=True
            )


def _sample(each: Seen, *, group: str, case: str, side: Side, wanted: int, label: int) -> Sample:
    return Sample(
        group=group,
        case=case,
        side=side,
        wanted=wanted,
        label=label,
        features=each.features,
        found=any(class_of(result.rule.cwe[0]) == wanted for result in each.results),
        silent=not each.results,
        rewritten=any(map(is_rewrite, each.results)),
    )
