"""What an expression may evaluate to: constant text with holes, and where each hole's content comes from."""

import re
from collections.abc import Iterable
from enum import IntEnum

from msgspec import Struct
from msgspec.structs import replace

HOLE = "\0"
MAX_SKELETON = 4000  # characters; what lies beyond decides nothing
MAX_HOLES = 24
PLACEHOLDER = re.compile(r"%(?:\(\w+\))?[-+ #0]*[\d.*]*[a-zA-Z]|\{[^{}\n]{0,80}\}")
NUMERIC_PLACEHOLDER = re.compile(r"%[-+ #0]*[\d.*]*[difeExXuc]|\{[^{}]*:[^{}]*[dfxe]\}")
EVERYTHING = "all"  # a hole that is safe wherever it is put


class Level(IntEnum):
    """Who decides about a value, the least trusted last."""

    trusted = 0  # a constant of the program
    unknown = 1  # computed somewhere else
    parameter = 2  # given by the caller
    outside = 3  # a request, the command line, a message


class Hole(Struct, frozen=True, gc=False):
    """A part that is not constant. `safe` names the classes that it was made safe for."""

    level: Level
    name: str = ""
    safe: frozenset[str] = frozenset()

    def is_safe(self, kind: str) -> bool:
        """Whether it may be put into text of `kind` as it is."""
        return self.level is Level.trusted or EVERYTHING in self.safe or kind in self.safe


class Value(Struct, frozen=True, gc=False):
    """Constant text in which each NUL stands for one hole; `cause` is the byte at which the mixing statement begins."""

    skeleton: str = ""
    holes: tuple[Hole, ...] = ()
    is_sequence: bool = False
    cause: int | None = None

    @property
    def is_constant(self) -> bool:
        """Whether the program alone decides."""
        return all(hole.level is Level.trusted for hole in self.holes)

    @property
    def is_built(self) -> bool:
        """Whether constant text and something else were put together."""
        return bool(self.holes) and (len(self.holes) > 1 or len(self.skeleton) > 1)

    @property
    def level(self) -> Level:
        """The level of the least trusted part."""
        return max((hole.level for hole in self.holes), default=Level.trusted)

    @property
    def is_parameter(self) -> bool:
        """Whether it is nothing but what a caller gave."""
        return self.skeleton == HOLE and self.level >= Level.parameter

    def risky(self, kind: str, level: Level = Level.unknown) -> tuple[Hole, ...]:
        """Return the holes of at least `level` that are not safe for `kind`."""
        return tuple(hole for hole in self.holes if hole.level >= level and not hole.is_safe(kind))

    def made_safe(self, kinds: Iterable[str]) -> "Value":
        """Return the value after it went through something that makes it safe for `kinds`."""
        added = frozenset(kinds)
        return replace(self, holes=tuple(replace(hole, safe=hole.safe | added) for hole in self.holes))

    def at_most(self, level: Level) -> "Value":
        """Return one hole that is trusted no less than `level` says: what an unknown function returns."""
        return Value(HOLE, (Hole(min(level, self.level), "", frozenset()),))


def hole(level: Level, name: str = "") -> Value:
    """Return a value that is nothing but one hole."""
    return Value(HOLE, (Hole(level, name),))


def joined(values: Iterable[Value], separator: str = "") -> Value:
    """Return the values one behind the other."""
    parts: list[str] = []
    holes: list[Hole] = []
    causes: list[int | None] = []
    for value in values:
        parts.append(value.skeleton)
        holes.extend(value.holes)
        causes.append(value.cause)
    return _bounded(separator.join(parts), holes, causes)


def either(values: list[Value]) -> Value:
    """Return what stands for all of `values`, when any of them may come: the one that is trusted least."""
    if not values:
        return Value()
    worst = max(values, key=lambda value: (len(value.risky(EVERYTHING)) > 0, value.level, value.is_built))
    causes = [value.cause for value in values if value.cause is not None and value is worst]
    return replace(worst, cause=min(causes, default=None), is_sequence=any(value.is_sequence for value in values))


def formatted(template: Value, values: list[Value]) -> Value:
    """Return `template` with its placeholders (`%s`, `{}`) replaced by `values`, in order, the last one repeated."""
    if template.skeleton == HOLE or not values:
        return joined([template, *values], " ")
    parts: list[str] = []
    holes: list[Hole] = []
    index, end = 0, 0
    own = iter(template.holes)
    for found in PLACEHOLDER.finditer(template.skeleton):
        before = template.skeleton[end : found.start()]
        value = values[min(index, len(values) - 1)]
        if NUMERIC_PLACEHOLDER.fullmatch(found[0]):
            value = value.made_safe((EVERYTHING,))
        holes += [next(own, Hole(Level.unknown)) for _ in range(before.count(HOLE))]
        parts += [before, value.skeleton]
        holes += value.holes
        index, end = index + 1, found.end()
    rest = template.skeleton[end:]
    holes += list(own)
    parts.append(rest)
    return _bounded("".join(parts), holes, [template.cause, *(value.cause for value in values)])


def _bounded(skeleton: str, holes: list[Hole], causes: list[int | None]) -> Value:
    skeleton = skeleton[:MAX_SKELETON]
    kept = holes[: min(MAX_HOLES, skeleton.count(HOLE))]
    known = [cause for cause in causes if cause is not None]
    return Value(skeleton, tuple(kept), cause=min(known, default=None))
