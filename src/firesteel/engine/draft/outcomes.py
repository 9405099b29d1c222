"""What a draft model says after each likely continuation: a tree that grows where it will most likely be needed.

An outcome of a step is how many tokens of its draft are accepted and which token comes next. Speculative
speculative decoding (Saguaro, arXiv 2603.03251) prepares drafts for the likeliest outcomes while the target
verifies. Here outcomes and what follows them are one tree of paths behind what is known, and one rule grows it:
compute next after the path that comes true with the highest chance.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from firesteel.backend.base import Logits
from firesteel.errors import EngineFailure

Option = tuple[int, float]  # a token and its probability

LEAST = 1e-6  # below this a probability counts as none


class Limits(NamedTuple):
    """How far a tree may grow."""

    depth: int  # nodes of a path, from the last one on that is part of the draft under verification
    width: int  # options of a node that are followed
    min_chance: float  # of a path


class Node:
    """What the draft model says after one path; `options` are empty until it was computed."""

    __slots__ = ("children", "options")

    def __init__(self) -> None:
        self.options: list[Option] = []  # the likeliest tokens, the best first
        self.children: dict[int, Node] = {}


class Frontier(NamedTuple):
    """What to compute next: the last nodes of a path, which have no options yet."""

    path: tuple[int, ...]
    nodes: list[Node]
    chance: float  # that the path up to the first of the nodes comes true


class Outcomes:
    """The tree of one sequence. No threads: whoever shares it holds a lock."""

    def __init__(self, end_tokens: frozenset[int]) -> None:
        self._end_tokens = end_tokens
        self.root = Node()  # after all that is known
        self._assumed: list[Option] = []

    def assume(self, tokens: Iterable[int], chances: Iterable[float]) -> None:
        """Take in the draft that is being verified, and how likely each of its tokens is accepted."""
        self._assumed = list(zip(tokens, chances, strict=True))

    def advance(self, tokens: Iterable[int]) -> None:
        """Take in what came; what was prepared for other outcomes is dropped."""
        self._assumed = []
        for token in tokens:
            self.root = self.root.children.get(token) or Node()

    def clear(self) -> None:
        """Drop everything."""
        self.root, self._assumed = Node(), []

    def best(self, max_tokens: int) -> list[Option]:
        """Return the prepared continuation of what is known, up to an end token; empty on a miss."""
        found: list[Option] = []
        node: Node | None = self.root
        while node is not None and node.options and len(found) < max_tokens:
            token, chance = node.options[0]
            if token in self._end_tokens:
                break
            found.append((token, chance))
            node = node.children.get(token)
        return found

    def next(self, limits: Limits, max_nodes: int) -> Frontier | None:
        """Return the likeliest path that was not computed yet; None when the tree has reached its limits.

        Where it is the beginning of the draft under verification, that draft's next nodes come along, at most
        `max_nodes` together: one step computes them all.
        """
        best: Frontier | None = None
        best_follows = False
        stack: list[tuple[float, tuple[int, ...], Node, int]] = [(1.0, (), self.root, 0)]
        while stack:
            chance, path, node, depth = stack.pop()
            if depth >= limits.depth:
                continue
            if not node.options:
                if best is None or chance > best.chance:
                    best, best_follows = Frontier(path, [node], chance), depth == 0
                continue
            assumed = self._assumed[len(path)] if depth == 0 and len(path) < len(self._assumed) else None
            for token, share in _branches(node, assumed, limits.width):
                if chance * share >= limits.min_chance and token not in self._end_tokens:
                    child = node.children.setdefault(token, Node())
                    is_assumed = assumed is not None and token == assumed[0]
                    stack.append((chance * share, (*path, token), child, 0 if is_assumed else depth + 1))
        return self._with_draft(best, limits, max_nodes) if best is not None and best_follows else best

    def _with_draft(self, frontier: Frontier, limits: Limits, max_nodes: int) -> Frontier:
        path, nodes, chance = list(frontier.path), list(frontier.nodes), frontier.chance
        for token, right in self._assumed[len(path) :]:
            chance *= right
            if chance < limits.min_chance or len(nodes) == max_nodes or token in self._end_tokens:
                break
            path.append(token)
            nodes.append(nodes[-1].children.setdefault(token, Node()))
        return Frontier(tuple(path), nodes, frontier.chance)


def _branches(node: Node, assumed: Option | None, width: int) -> list[Option]:
    """Return the tokens that may come after `node`, with the chance of each."""
    if assumed is None:
        return node.options[:width]
    token, right = assumed
    said = dict(node.options).get(token, 0.0)
    left = (1 - right) / max(1 - said, LEAST)  # what the others share when the draft is wrong here
    return [assumed, *((other, share * left) for other, share in node.options[:width] if other != token)]


def likeliest(logits: Logits) -> list[Option]:
    """Return the two likeliest tokens and their probabilities; 0.2 ms at 152k. Overwrites `logits`.

    Raises EngineFailure when they are not numbers.
    """
    first = int(logits.argmax())
    logits -= logits[first]
    np.exp(logits, out=logits)
    total = float(logits.sum())
    if not math.isfinite(total):
        raise EngineFailure("the draft model's logits are not numbers")
    logits[first] = 0.0
    second = int(logits.argmax())
    return [(first, 1.0 / total), (second, float(logits[second]) / total)]
