"""The sentinel: a small learned classifier of statements. It speaks up where rules are silent, and doubts where it may.

A statement that the automaton armed is turned into hashed features: its words, pairs and triples of tokens, the words
of its function before it, and what the rules said. One row of small integers per feature is added up; the softmax over
classes says how likely each is. What its figures on held-out folds allow it to do stands in the head of the weights.
"""

import json
import math
import re
import zlib
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import Any

import msgspec
from msgspec.structs import replace

from firesteel.guard.analyse import Result, analyse
from firesteel.guard.finding import Action
from firesteel.guard.imports import Imports
from firesteel.guard.rules.base import Match
from firesteel.guard.rules.learned import LEARNED

WEIGHTS = "sentinel.bin"
BUCKETS = 1 << 15
MAX_TEXT = 1_000  # characters of the statement
MAX_BEFORE = 2_000  # ... and of its function before it
TOKEN = re.compile(r"[A-Za-z_]\w*|\d+|[^\w\s]")
WORD = re.compile(r"[A-Za-z_]\w*")
PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
Told = tuple[tuple[str, str], ...]  # rule and action


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What the weights say about themselves. Thresholds are probabilities."""

    version: int
    scale: float  # of one step of a weight
    checksum: int  # CRC-32 of the weights
    find_at: float | None  # a class is told of from here on; None: never
    find_action: Action
    doubt_below: float  # a rewrite is only told where all classes together have less
    figures: dict[str, Any]  # held out, as the model card shows them


class Sentinel:
    """The weights: `BUCKETS` rows of one signed byte for each class, the first being good code."""

    def __init__(self, head: Head, weights: bytes) -> None:
        """Raises ValueError when the weights are not those that the head speaks of."""
        width = len(LEARNED) + 1
        if len(weights) != BUCKETS * width or zlib.crc32(weights) != head.checksum:
            raise ValueError("the sentinel's weights are damaged")
        self.head = head
        self.weights = weights
        self._signed = memoryview(weights).cast("b")
        self._width = width

    def chances(self, features: list[int]) -> list[float]:
        """Return how likely each class is, good code first; they add up to 1."""
        signed, width = self._signed, self._width
        rows = [signed[each * width : each * width + width].tolist() for each in features]
        step = self.head.scale / math.sqrt(len(features))
        scores = [sum(column) * step for column in zip(*rows, strict=True)]
        highest = max(scores)
        grown = [math.exp(score - highest) for score in scores]
        whole = sum(grown)
        return [each / whole for each in grown]


def features_of(language: str, before: str, text: str, told: Told) -> list[int]:
    """Return the buckets of a statement's features, in order, each once; never none."""
    tokens = TOKEN.findall(text[:MAX_TEXT])
    lowered = [token.lower() if not token[0].isdigit() else "0" for token in tokens]
    found = {f"l:{language}", *(f"r:{rule}{action}" for rule, action in told), *(f"r:{rule}" for rule, _ in told)}
    if not told:
        found.add("r:none")
    found.update(f"w:{token}" for token in lowered)
    found.update(f"p:{part.lower()}" for token in tokens for part in PART.findall(token))
    found.update(f"b:{first} {second}" for first, second in pairwise(lowered))
    found.update(map("t:{} {} {}".format, lowered, lowered[1:], lowered[2:]))
    found.update(f"c:{word}" for word in WORD.findall(before[-MAX_BEFORE:].lower()))
    return sorted({zlib.crc32(each.encode(errors="replace")) % BUCKETS for each in found})


def packed(head: Head, weights: bytes) -> bytes:
    """Return a file of weights: one line of JSON, then the weights."""
    return msgspec.json.encode(head) + b"\n" + weights


def unpacked(data: bytes) -> Sentinel:
    """Return what `packed` wrote. Raises ValueError for anything else."""
    line, _, weights = data.partition(b"\n")
    try:
        return Sentinel(msgspec.json.decode(line, type=Head), weights)
    except (msgspec.DecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"these are no weights of a sentinel: {error}") from None


@cache
def shipped() -> Sentinel:
    """Return the sentinel of this package, loaded once (some milliseconds). Raises ValueError, OSError."""
    return unpacked(resources.files("firesteel.guard").joinpath(WEIGHTS).read_bytes())


def judge(
    language: str, window: bytes, closers: bytes, start: int, *, at_end: bool, imports: Imports | None = None
) -> list[Result]:
    """Return what the rules find in a window, as `analyse` does, after the sentinel had its say."""
    results = analyse(language, window, closers, start, at_end=at_end, imports=imports)
    return results if at_end else reviewed(shipped(), language, window, start, results)


def reviewed(sentinel: Sentinel, language: str, window: bytes, start: int, results: list[Result]) -> list[Result]:
    """Return `results`, milder where the sentinel doubts them, or what it finds itself where there are none.

    It is asked only where its answer can change something: most statements are good and no rule speaks.
    """
    if not (any(is_rewrite(each) for each in results) if results else sentinel.head.find_at is not None):
        return results
    text = window[start:].decode(errors="replace")
    before = window[max(0, start - 4 * MAX_BEFORE) : start].decode(errors="ignore")
    chances = sentinel.chances(features_of(language, before, text, told(results)))
    if results:
        return [doubted(each) for each in results] if 1 - chances[0] < sentinel.head.doubt_below else results
    likeliest = max(range(1, len(chances)), key=chances.__getitem__)
    if sentinel.head.find_at is None or chances[likeliest] < sentinel.head.find_at:
        return []
    match = Match(None, sentinel.head.find_action, f"the sentinel is {chances[likeliest]:.0%} sure; no rule is")
    begin = start + len(window[start:]) - len(window[start:].lstrip())
    return [Result(LEARNED[likeliest - 1], begin, max(begin + 1, len(window.rstrip())), match)]


def told(results: list[Result]) -> Told:
    """Return rules and actions of results, as features know them."""
    return tuple((each.rule.id, each.match.action or each.rule.action) for each in results)


def is_rewrite(result: Result) -> bool:
    """Whether the rule would take the statement back."""
    return (result.match.action or result.rule.action) is Action.rewrite


def doubted(result: Result) -> Result:
    """Return a result that is told of where it would have been rewritten; others stay as they are."""
    if not is_rewrite(result):
        return result
    reason = result.match.reason or result.rule.title.lower()
    return replace(result, match=replace(result.match, action=Action.warn, reason=f"{reason} (the sentinel doubts it)"))
