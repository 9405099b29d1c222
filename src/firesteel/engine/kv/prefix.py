"""A prefix tree over token ids: which prefixes are known, and where their KV rests.

A *block* is up to `BLOCK_TOKENS` consecutive tokens; only a full one has children. Two sequences that begin
alike share their blocks, so a system prompt that ten conversations have in common is held once. A block's KV
rests in host memory, on disk, or both. One that rests nowhere, a *ghost*, is kept for a while for its rhythm.

What leaves host memory first: what was not used for long, or, where a rhythm of use is known, what is expected to
be wanted last (Belady's rule, with an estimate in place of the future); the more so, the less it would cost to
compute again. Recency alone loses everything as soon as a few conversations in turn are more than fit.
"""

import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt

BLOCK_TOKENS = 256  # 3 MB of the default model; saving one takes 1.1 ms
KEY_TOKENS = 16  # where a block has many children, they are found by this many of their first tokens
MANY_CHILDREN = 32
DOUBLING_TOKENS = 5_000  # a token at this position costs twice as much to compute as the first (measured)
FIRST_PAUSE_SECONDS = 60.0  # what was used once is not expected sooner
MAX_GHOSTS = 4_096  # 1 kB each
MAX_PAUSE_SECONDS = 600.0  # a longer pause says nothing about the next one

TokenArray = npt.NDArray[np.int32]


def token_array(tokens: list[int]) -> TokenArray:
    """Return `tokens` as int32 [num_tokens], the form that prefixes are compared in."""
    return np.asarray(tokens, dtype=np.int32)


def num_common(left: TokenArray, right: TokenArray) -> int:
    """Return the length of the longest common prefix."""
    length = min(len(left), len(right))
    left, right = left[:length], right[:length]
    if left.tobytes() == right.tobytes():  # the usual case; argmax would let go of the interpreter lock each time
        return length
    return int((left != right).argmax())


class Block:
    """A node of the tree. Owned by its `PrefixTree`; `state` is its KV in host memory."""

    __slots__ = (
        "children",
        "id",
        "is_on_disk",
        "num_bytes",
        "num_host_children",
        "num_leases",
        "order",
        "parent",
        "pause_seconds",
        "position",
        "scope",
        "state",
        "tokens",
        "used_at",
    )

    def __init__(self, parent: "Block | None", scope: str, tokens: TokenArray) -> None:
        self.parent = parent
        self.scope = scope
        self.tokens = tokens
        self.position = parent.end if parent else 0
        self.children: dict[bytes, list[Block]] = {}
        self.state: Any = None
        self.num_bytes = 0
        self.num_host_children = 0
        self.num_leases = 0  # readers in flight; a leased block stays
        self.used_at = 0.0  # seconds of the tree's clock; set when its KV comes into memory
        self.order = 0  # of use
        self.pause_seconds = 0.0  # from the end of one use to the next, as last seen; 0 = not seen yet
        self.id = ""  # its name on disk; set where there is a disk
        self.is_on_disk = False

    @property
    def end(self) -> int:
        """The position after its last token."""
        return self.position + len(self.tokens)

    @property
    def is_ghost(self) -> bool:
        """Whether its KV rests nowhere."""
        return self.state is None and not self.is_on_disk

    @property
    def is_full(self) -> bool:
        """Whether other blocks may follow."""
        return len(self.tokens) == BLOCK_TOKENS

    def best_child(self, tokens: TokenArray) -> "tuple[Block | None, int]":
        """Return the child that begins most like `tokens`, and how many tokens they share."""
        best, best_length = None, 0
        for child in self.candidates(tokens[:KEY_TOKENS]):
            length = num_common(child.tokens, tokens)
            if length > best_length:
                best, best_length = child, length
        return best, best_length

    def candidates(self, head: TokenArray) -> "Iterator[Block]":
        """Yield the children that may begin like `head`."""
        if len(self.children) <= MANY_CHILDREN or len(head) < KEY_TOKENS:
            for children in self.children.values():
                yield from children
            return
        for length in range(1, KEY_TOKENS + 1):
            yield from self.children.get(head[:length].tobytes(), ())

    def wait_per_cost(self, now: float) -> float:
        """Return how long it will probably not be wanted, by what a byte of it costs to compute again.

        A block whose usual pause is over is due; the longer it is overdue, the less it is expected. Where no
        pause is known, it is expected the less the longer ago its use was.
        """
        age = now - self.used_at
        wait = abs(self.pause_seconds - age) if self.pause_seconds else max(age, FIRST_PAUSE_SECONDS)
        return wait / (1.0 + self.position / DOUBLING_TOKENS)


class PrefixTree:
    """All known prefixes of all scopes, bounded in bytes of host memory."""

    def __init__(
        self,
        max_bytes: int,
        on_forget: Callable[[Block], None] = lambda block: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.max_bytes = max_bytes
        self.num_bytes = 0
        self.num_tokens = 0  # whose KV is in host memory
        self._on_forget = on_forget  # a block leaves the tree; its copy on disk is of no use any more
        self._roots: dict[str, Block] = {}
        self._ghosts: dict[Block, None] = {}  # the oldest first
        self._leaves: dict[Block, None] = {}  # of what rests in host memory; some may be leased
        self._order = count()
        self._now = now

    def root(self, scope: str) -> Block:
        """Return the block without tokens that all prefixes of `scope` follow."""
        if scope not in self._roots:
            self._roots[scope] = Block(None, scope, token_array([]))
        return self._roots[scope]

    def match(self, scope: str, tokens: TokenArray) -> tuple[list[Block], int]:
        """Return the blocks that hold the longest known prefix of `tokens`, and its length.

        The last block may go on differently, or further, than `tokens`.
        """
        path: list[Block] = []
        block, position = self._roots.get(scope), 0
        while block is not None and position < len(tokens):
            child, length = block.best_child(tokens[position : position + BLOCK_TOKENS])
            if child is None:
                break
            path.append(child)
            position += length
            block = child if length == BLOCK_TOKENS else None
        return path, position

    def use(self, path: list[Block]) -> None:
        """Note that a request begins with the blocks of `path`."""
        now = self._now()
        for block in path:
            block.pause_seconds = min(now - block.used_at, MAX_PAUSE_SECONDS)
        self.touch(path)

    def touch(self, path: list[Block]) -> None:
        """Note that the request that used or made the blocks of `path` has ended, or goes on."""
        now = self._now()
        for block in path:
            block.used_at, block.order = now, next(self._order)

    def lease(self, path: list[Block]) -> None:
        """Keep the blocks of `path` where they are until `release`."""
        for block in path:
            block.num_leases += 1

    def release(self, path: list[Block]) -> None:
        """End a lease."""
        for block in path:
            block.num_leases -= 1

    def put(self, parent: Block, tokens: TokenArray, state: Any, num_bytes: int) -> Block | None:
        """Add the KV of `tokens` after `parent`; None when there is no room for it. Blocks that it covers go."""
        known, length = parent.best_child(tokens)
        is_known = known is not None and length == len(tokens)
        if known is not None and is_known and (known.state is not None or len(known.tokens) > length):
            return known
        if not self.make_room(num_bytes):
            return None
        if known is not None and is_known and known.parent is not None:
            return self.fill(known, state, num_bytes)
        block = self.attach(parent, tokens)
        block.pause_seconds = parent.pause_seconds if len(parent.children) == 1 else 0.0
        for child in list(parent.candidates(tokens[:KEY_TOKENS])):
            is_covered = child is not block and num_common(child.tokens, tokens) == len(child.tokens)
            if is_covered and not child.num_leases:
                block.pause_seconds = child.pause_seconds
                self.forget(child)
        return self.fill(block, state, num_bytes)

    def attach(self, parent: Block, tokens: TokenArray) -> Block:
        """Add a block whose KV rests on disk, or is filled in at once. It owns a copy of `tokens`."""
        assert parent.is_full or parent.parent is None, "only full blocks have children"
        block = Block(parent, parent.scope, tokens.copy())  # a view would keep all of the prompt that it is cut from
        parent.children.setdefault(tokens[:KEY_TOKENS].tobytes(), []).append(block)
        return block

    def fill(self, block: Block, state: Any, num_bytes: int) -> Block:
        """Put the KV of `block` into host memory; the caller has made room."""
        assert block.state is None
        block.state, block.num_bytes = state, num_bytes
        self._ghosts.pop(block, None)
        self.num_bytes += num_bytes
        self.num_tokens += len(block.tokens)
        if block.parent is not None:
            block.parent.num_host_children += 1
            self._leaves.pop(block.parent, None)
        if not block.num_host_children:
            self._leaves[block] = None
        self.touch([block])
        return block

    def make_room(self, num_bytes: int) -> bool:
        """Evict until `num_bytes` more fit; return False when they cannot."""
        if num_bytes > self.max_bytes:
            return False
        while self.num_bytes + num_bytes > self.max_bytes:
            now = self._now()
            idle = [leaf for leaf in self._leaves if not leaf.num_leases]
            if not idle:
                return False
            self._evict(max(idle, key=lambda leaf: (leaf.wait_per_cost(now), -leaf.order)))
        return True

    def _evict(self, block: Block) -> None:
        """Take the KV of `block` out of host memory; without a copy on disk only its rhythm stays."""
        self._empty(block)
        if not block.is_on_disk:
            self._ghosts[block] = None
            if len(self._ghosts) > MAX_GHOSTS:
                self.forget(next(iter(self._ghosts)))

    def forget(self, block: Block) -> None:
        """Remove `block` and all that follows it."""
        for children in list(block.children.values()):
            for child in list(children):
                self.forget(child)
        self._empty(block)
        self._ghosts.pop(block, None)
        self._on_forget(block)
        block.is_on_disk = False
        if block.parent is not None:
            key = block.tokens[:KEY_TOKENS].tobytes()
            siblings = block.parent.children[key]
            siblings.remove(block)
            if not siblings:
                del block.parent.children[key]
            block.parent = None

    def _empty(self, block: Block) -> None:
        if block.state is None:
            return
        block.state = None
        self._leaves.pop(block, None)
        self.num_bytes -= block.num_bytes
        self.num_tokens -= len(block.tokens)
        if block.parent is not None:
            block.parent.num_host_children -= 1
            if not block.parent.num_host_children and block.parent.state is not None:
                self._leaves[block.parent] = None

    def blocks(self) -> Iterator[Block]:
        """Yield every block, parents first."""
        waiting = list(self._roots.values())
        while waiting:
            block = waiting.pop()
            if len(block.tokens):
                yield block
            waiting += [child for children in block.children.values() for child in children]

    def clear(self) -> None:
        """Forget everything; copies on disk stay."""
        self._roots.clear()
        self._leaves.clear()
        self._ghosts.clear()
        self.num_bytes = self.num_tokens = 0
