"""Everything that was ever computed, kept warm: in host memory, and on disk so that it outlives the process.

Only live sequences occupy the context, because foreign cells in a unified cache slow every step. Finished
prefixes rest in a `PrefixTree` and come back block by block. All methods belong to the engine's thread;
hashing and files belong to the disk's.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from firesteel.backend.base import Backend
from firesteel.engine.kv.prefix import BLOCK_TOKENS, Block, PrefixTree, TokenArray
from firesteel.engine.kv.store import BlockFile

Fetched = Callable[[Callable[[], None] | None], None]

FLUSH_SECONDS = 5.0  # at the end, for what is not on disk yet


class Disk(Protocol):
    """Where blocks outlive the process. `done` callbacks arrive on the engine's thread."""

    def identify(self, scope: str, parent: str, tokens: TokenArray) -> str:
        """Return the name of a block; it depends on all tokens before it, too."""
        ...

    def write(
        self,
        scope: str,
        parent: str,
        position: int,
        tokens: TokenArray,
        state: Any,
        done: Callable[[str | None], None],
    ) -> None:
        """Store a block in the background; `done(None)` when it could not be."""
        ...

    def read(self, ids: list[str], done: Callable[[list[bytes | None]], None]) -> None:
        """Read and verify blocks in the background; None for each that is gone or damaged."""
        ...

    def remove(self, ids: Iterable[str]) -> None:
        """Delete blocks in the background."""
        ...

    def touch(self, ids: Iterable[str]) -> None:
        """Note in the background that blocks were used."""
        ...

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until everything is written."""
        ...

    def close(self, timeout_seconds: float) -> bool:
        """End the background work."""
        ...


class WarmKV(Protocol):
    """What the scheduler knows of the KV of sequences that are not live."""

    num_tokens_from_disk: int

    @property
    def num_bytes(self) -> int:
        """Host memory in use."""
        ...

    @property
    def num_tokens(self) -> int:
        """Tokens whose KV rests in host memory."""
        ...

    def num_known(self, scope: str, tokens: TokenArray) -> int:
        """Note that a request begins with `tokens`; return how many of the first ones can be restored at once."""
        ...

    def restore(self, slot: int, scope: str, tokens: TokenArray, start: int, num_free: int) -> int:
        """Load KV from position `start` on, at most `num_free` cells; return how many positions `slot` then holds."""
        ...

    def keep(self, slot: int, scope: str, tokens: TokenArray) -> None:
        """Save the KV of `slot`, which holds `tokens` and is about to leave the context."""
        ...

    def keep_from(self, slot: int, scope: str, tokens: TokenArray, start: int) -> None:
        """Save the KV of `slot` from `start` on while it goes on; what comes before was saved already."""
        ...

    def fetch(self, scope: str, tokens: TokenArray, done: Fetched) -> bool:
        """Begin to bring from disk what `tokens` begin with; False when there is nothing.

        `done` is given what ends the lease of what was fetched, or None: another request has fetched some of it.
        """
        ...

    def close(self) -> None:
        """Forget everything in memory; what is on disk stays there."""
        ...


class BlockCache:
    """`WarmKV` in blocks that sequences share, for backends that can trim."""

    def __init__(self, backend: Backend, max_bytes: int, now: Callable[[], float] = time.monotonic) -> None:
        self._backend = backend
        self._disk: Disk | None = None
        self._on_disk: dict[str, Block] = {}
        self._arriving: set[Block] = set()  # being read
        self._waiting: list[Fetched] = []  # requests for some of those
        self.tree = PrefixTree(max_bytes, self._remove_from_disk, now)
        self.num_tokens_from_disk = 0

    @property
    def num_bytes(self) -> int:
        """Host memory in use."""
        return self.tree.num_bytes

    @property
    def num_tokens(self) -> int:
        """Tokens whose KV rests in host memory."""
        return self.tree.num_tokens

    def num_known(self, scope: str, tokens: TokenArray) -> int:
        """See `WarmKV.num_known`."""
        path, length = self.tree.match(scope, tokens)
        self.tree.use(path)
        resting = _resting(path)
        return min(length, resting[-1].end) if resting else 0

    def restore(self, slot: int, scope: str, tokens: TokenArray, start: int, num_free: int) -> int:
        """See `WarmKV.restore`; `start` is a multiple of `BLOCK_TOKENS`."""
        path, length = self.tree.match(scope, tokens)
        self._touch(path)
        position = start
        for block in _resting(path):
            if block.end <= start:
                continue
            if block.end - start > num_free or not self._backend.load(slot, block.state):
                break
            position = block.end
        if position > length:
            self._backend.trim(slot, length)
        return min(position, length) if position > start else start

    def keep(self, slot: int, scope: str, tokens: TokenArray) -> None:
        """See `WarmKV.keep`."""
        self.keep_from(slot, scope, tokens, 0)

    def keep_from(self, slot: int, scope: str, tokens: TokenArray, start: int) -> None:
        """See `WarmKV.keep_from`. Nothing is saved when a block before `start` has been evicted meanwhile."""
        path, length = self.tree.match(scope, tokens[:start])
        parent = path[-1] if path else self.tree.root(scope)
        if length < start or (start and parent.is_ghost) or not self.tree.max_bytes:
            return
        self.tree.lease(path)  # making room must not take what this goes on from
        for position in range(start, len(tokens), BLOCK_TOKENS):
            block = self._keep_block(slot, parent, tokens[position : position + BLOCK_TOKENS])
            if block is None:
                break
            self.tree.lease([block])
            path.append(block)
            parent = block
        self.tree.touch(path)
        self.tree.release(path)

    def _keep_block(self, slot: int, parent: Block, tokens: TokenArray) -> Block | None:
        known, length = parent.best_child(tokens)
        if known is not None and length == len(tokens) and known.state is not None:
            self._write(known)
            return known
        state = self._backend.save(slot, parent.end, parent.end + len(tokens))
        block = self.tree.put(parent, tokens, state, self._backend.state_bytes(state))
        if block is not None:
            self._write(block)
        return block

    def _write(self, block: Block) -> None:
        """Bring a block to the disk, too; one that could not be written before is tried again."""
        if self._disk is None or block.is_on_disk or block.state is None:
            return
        assert block.parent is not None
        block.id = self._disk.identify(block.scope, block.parent.id, block.tokens)
        self._note_on_disk(block)  # or it soon will be; who reads too early computes it again
        self._disk.write(
            block.scope,
            block.parent.id,
            block.position,
            block.tokens,
            block.state,
            lambda id: None if id else self.on_removed([block.id]),
        )

    def _note_on_disk(self, block: Block) -> None:
        block.is_on_disk = True
        self._on_disk[block.id] = block

    def on_removed(self, ids: list[str]) -> None:
        """Take note of blocks that are not on disk (any more)."""
        for id in ids:
            block = self._on_disk.pop(id, None)
            if block is not None and block.is_on_disk:
                block.is_on_disk = False
                if block.state is None and not block.num_leases:
                    self.tree.forget(block)

    def fetch(self, scope: str, tokens: TokenArray, done: Fetched) -> bool:
        """See `WarmKV.fetch`. Blocks that cannot be read are forgotten, with all that follows them."""
        if self._disk is None:
            return False
        path, _ = self.tree.match(scope, tokens)
        missing = self._within_bounds(path)
        if not missing:
            return False
        if any(block in self._arriving for block in missing):
            self._waiting.append(done)  # it looks again when those are here
            return True
        self._arriving.update(missing)
        self.tree.lease(path)
        self._disk.read([block.id for block in missing], lambda states: self._arrived(path, missing, states, done))
        return True

    def _within_bounds(self, path: list[Block]) -> list[Block]:
        """Return the blocks of `path` that rest on disk only, as many as fit into host memory with what precedes."""
        num_bytes, missing = 0, []
        for block in path:
            num_bytes += block.num_bytes
            if num_bytes > self.tree.max_bytes or block.is_ghost:
                break
            if block.state is None:
                missing.append(block)
        return missing

    def _arrived(self, path: list[Block], missing: list[Block], states: list[bytes | None], done: Fetched) -> None:
        self._arriving.difference_update(missing)
        for block, state in zip(missing, states, strict=True):
            if state is None or not self._fill(block, state):
                break
        self._forget_unreadable(missing, states)
        done(lambda: self.tree.release(path))
        waiting, self._waiting = self._waiting, []
        for look_again in waiting:
            look_again(None)

    def _forget_unreadable(self, blocks: list[Block], states: list[bytes | None]) -> None:
        for block, state in zip(blocks, states, strict=True):
            is_gone = state is None or not block.is_on_disk
            if is_gone and block.state is None and block.parent is not None:
                self.tree.forget(block)

    def _fill(self, block: Block, state: bytes) -> bool:
        """Put what was read into host memory; False when there is no room."""
        if block.state is None:
            num_bytes = self._backend.state_bytes(state)
            if block.parent is None or not self.tree.make_room(num_bytes):
                return False
            self.tree.fill(block, state, num_bytes)
            self.num_tokens_from_disk += len(block.tokens)
        return True

    def attach(self, disk: Disk, blocks: Iterable[BlockFile]) -> None:
        """Use `disk` from now on; `blocks` is what an earlier process left there, parents first."""
        self._disk = disk
        for file in blocks:
            parent = self._on_disk.get(file.parent) if file.parent else self.tree.root(file.scope)
            if parent is not None and (parent.is_full or not file.parent) and parent.end == file.position:
                block = self.tree.attach(parent, file.tokens)
                block.id, block.num_bytes = file.id, file.num_bytes
                self._note_on_disk(block)

    def _remove_from_disk(self, block: Block) -> None:
        self._on_disk.pop(block.id, None)
        if self._disk is not None and block.is_on_disk:
            self._disk.remove([block.id])

    def _touch(self, path: list[Block]) -> None:
        if self._disk is not None and path:
            self._disk.touch([block.id for block in path if block.is_on_disk])

    def close(self) -> None:
        """See `WarmKV.close`; what is not on disk yet gets a few seconds."""
        if self._disk is not None:
            self._disk.flush(FLUSH_SECONDS)
            self._disk.close(FLUSH_SECONDS)
            self._disk = None
        self.tree.clear()


def _resting(path: list[Block]) -> list[Block]:
    """Return the first blocks of `path`, up to one whose KV is not in host memory."""
    resting = []
    for block in path:
        if block.state is None:
            break
        resting.append(block)
    return resting
