"""Host memory for the KV of idle sequences: only live ones occupy the context.

Foreign cells in a unified cache slow every step, so a sequence that ends moves here at once (4k tokens of
the default model: 50 MB, 6 ms) and a request that shares its prefix loads it back and trims the rest.
"""

from collections import OrderedDict
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

MAX_ENTRIES = 256  # each is compared with every new prompt, some 3 µs, on the engine's thread

TokenArray = npt.NDArray[np.int32]


def token_array(tokens: list[int]) -> TokenArray:
    """Return `tokens` as int32 [num_tokens], the form that prefixes are compared in."""
    return np.asarray(tokens, dtype=np.int32)


def num_common(left: TokenArray, right: TokenArray) -> int:
    """Return the length of the longest common prefix."""
    length = min(len(left), len(right))
    differs = left[:length] != right[:length]
    first = int(differs.argmax()) if length else 0
    return first if length and differs[first] else length


class Entry(msgspec.Struct):
    """The KV of one idle sequence: `state` holds exactly the positions of `tokens`."""

    tokens: TokenArray
    state: Any
    num_bytes: int


class HostCache:
    """Least-recently-used store of idle KV, bounded in bytes."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.num_bytes = 0
        self._entries: OrderedDict[int, Entry] = OrderedDict()
        self._next_key = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def num_tokens(self) -> int:
        """Tokens whose KV rests here."""
        return sum(len(entry.tokens) for entry in self._entries.values())

    def match(self, tokens: TokenArray) -> tuple[Entry | None, int]:
        """Return the entry that shares the longest prefix with `tokens`, and that prefix's length."""
        best, best_key, best_length = None, -1, 0
        for key, entry in self._entries.items():
            length = num_common(entry.tokens, tokens)
            if length > best_length:
                best, best_key, best_length = entry, key, length
        if best is not None:
            self._entries.move_to_end(best_key)
        return best, best_length

    def put(self, tokens: TokenArray, state: Any, num_bytes: int) -> None:
        """Store a KV; entries that are prefixes of it go, then the least recently used beyond the bounds."""
        if num_bytes > self.max_bytes or self.match(tokens)[1] == len(tokens):
            return
        for key in [key for key, entry in self._entries.items() if self._covers(tokens, entry.tokens)]:
            self._drop(key)
        self._entries[self._next_key] = Entry(tokens, state, num_bytes)
        self._next_key += 1
        self.num_bytes += num_bytes
        while self.num_bytes > self.max_bytes or len(self._entries) > MAX_ENTRIES:
            self._drop(next(iter(self._entries)))

    @staticmethod
    def _covers(tokens: TokenArray, prefix: TokenArray) -> bool:
        return len(prefix) <= len(tokens) and num_common(tokens, prefix) == len(prefix)

    def _drop(self, key: int) -> None:
        self.num_bytes -= self._entries.pop(key).num_bytes

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self.num_bytes = 0
