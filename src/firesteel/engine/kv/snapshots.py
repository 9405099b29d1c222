"""Warm KV of backends that cannot trim (recurrent, hybrid): whole sequences, or nothing."""

from typing import Any

from firesteel.backend.base import Backend
from firesteel.engine.kv.prefix import TokenArray, num_common
from firesteel.engine.kv.warm import Fetched


class _Snapshot:
    """All the KV of one sequence."""

    def __init__(self, tokens: TokenArray, state: Any, num_bytes: int) -> None:
        self.tokens, self.state, self.num_bytes = tokens, state, num_bytes


class SnapshotCache:
    """`WarmKV` in whole sequences: one that is a prefix of the prompt is used, or none.

    They rest in host memory only; the least recently used leave first.
    """

    def __init__(self, backend: Backend, max_bytes: int) -> None:
        self._backend = backend
        self._max_bytes = max_bytes
        self._snapshots: dict[tuple[str, bytes], _Snapshot] = {}  # least recently used first
        self.num_bytes = 0
        self.num_tokens_from_disk = 0

    @property
    def num_tokens(self) -> int:
        """Tokens whose KV rests here."""
        return sum(len(snapshot.tokens) for snapshot in self._snapshots.values())

    def _match(self, scope: str, tokens: TokenArray) -> tuple[tuple[str, bytes], _Snapshot] | None:
        """Return the longest snapshot that is a prefix of `tokens`."""
        fitting = [
            (key, snapshot)
            for key, snapshot in self._snapshots.items()
            if key[0] == scope and num_common(snapshot.tokens, tokens) == len(snapshot.tokens)
        ]
        return max(fitting, key=lambda found: len(found[1].tokens), default=None)

    def num_known(self, scope: str, tokens: TokenArray) -> int:
        """See `WarmKV.num_known`."""
        found = self._match(scope, tokens)
        return len(found[1].tokens) if found else 0

    def restore(self, slot: int, scope: str, tokens: TokenArray, start: int, num_free: int) -> int:
        """See `WarmKV.restore`; `start` is 0."""
        found = self._match(scope, tokens)
        if found is None or start or len(found[1].tokens) > num_free:
            return start
        key, snapshot = found
        self._snapshots[key] = self._snapshots.pop(key)
        return len(snapshot.tokens) if self._backend.load(slot, snapshot.state) else 0

    def keep(self, slot: int, scope: str, tokens: TokenArray) -> None:
        """See `WarmKV.keep`."""
        if not len(tokens) or not self._max_bytes:
            return
        state = self._backend.save(slot)
        num_bytes = self._backend.state_bytes(state)
        key = (scope, tokens.tobytes())
        if num_bytes <= self._max_bytes and key not in self._snapshots:
            self._snapshots[key] = _Snapshot(tokens, state, num_bytes)
            self.num_bytes += num_bytes
        while self.num_bytes > self._max_bytes:
            self.num_bytes -= self._snapshots.pop(next(iter(self._snapshots))).num_bytes

    def keep_from(self, slot: int, scope: str, tokens: TokenArray, start: int) -> None:
        """Do nothing: a part cannot be saved."""

    def fetch(self, scope: str, tokens: TokenArray, done: Fetched) -> bool:
        """Return False: snapshots do not rest on disk."""
        return False

    def close(self) -> None:
        """Forget everything."""
        self._snapshots.clear()
        self.num_bytes = 0
