"""Saved KV of the scripted model: tokens, the position they begin at, and a checksum of all before them.

A block that is loaded at the wrong place, or behind another prefix, is thus an AssertionError at once.
"""

from __future__ import annotations

import struct
from array import array
from typing import TYPE_CHECKING

from firesteel.backend.scripted.kv import extend_checksum

if TYPE_CHECKING:
    from firesteel.backend.base import State
    from firesteel.backend.scripted.kv import SequenceKV

_HEADER = struct.Struct("<II")  # first position, CRC-32 of the tokens before it


def pack(tokens: array[int], start: int, end: int) -> bytes:
    """Return the state of the positions `start` to `end` of a sequence that holds `tokens`; O(end)."""
    return _HEADER.pack(start, extend_checksum(0, tokens[:start])) + tokens[start:end].tobytes()


def unpack(state: State, kv: SequenceKV) -> array[int]:
    """Return the tokens of a state that goes on where `kv` ends. AssertionError: it does not."""
    start, checksum = _HEADER.unpack_from(state)
    assert start == len(kv.tokens), f"a state of position {start} is loaded behind {len(kv.tokens)} tokens"
    assert checksum == kv.checksum(), f"a state of position {start} is loaded behind other tokens than its own"
    tokens = array("H")
    tokens.frombytes(memoryview(state).cast("B")[_HEADER.size :])
    return tokens


def num_tokens(state: State) -> int:
    """Return how many tokens a state holds."""
    return (memoryview(state).nbytes - _HEADER.size) // 2
