"""What the tests of blocks on disk share."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from firesteel.engine.kv.store import BlockStore

GENEROUS = 1 << 30


class Wall:
    """A wall clock that moves only when told to."""

    def __init__(self, seconds: float = 1_800_000_000.0) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


def tokens_of(first: int, count: int = 256) -> npt.NDArray[np.int32]:
    """Return `count` tokens that depend on `first`."""
    return np.arange(first, first + count, dtype=np.int32)


def open_store(folder: Path, fingerprint: str = "model, f16", **options: Any) -> BlockStore:
    """Return a store with room, unless `options` say otherwise."""
    return BlockStore(folder, fingerprint, **{"max_bytes": GENEROUS, "max_seconds": 86_400.0, **options})


def write_chain(store: BlockStore, length: int, first: int = 0, num_bytes: int = 100, scope: str = "") -> list[str]:
    """Write blocks that follow one another, the KV of each being its number repeated; return their ids."""
    ids: list[str] = []
    for number in range(length):
        parent = ids[-1] if ids else ""
        state = bytes([number % 256]) * num_bytes
        id = store.write(scope, parent, number * 256, tokens_of(first + number * 256), state)
        assert id is not None
        ids.append(id)
    return ids


def names(folder: Path, pattern: str = "*/*") -> set[str]:
    """Return the names of the files two levels below `folder`, or those that match `pattern`."""
    return {path.name for path in folder.glob(pattern)}


def kept(folder: Path) -> set[str]:
    """Return the ids of the blocks that are on disk."""
    return {path.stem for path in folder.glob("*/*.kv")}
