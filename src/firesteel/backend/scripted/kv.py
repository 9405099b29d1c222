"""The 'KV' of the scripted model: the very tokens that were computed, so that every mix-up shows."""

from __future__ import annotations

import itertools
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from firesteel.backend.scripted import vocabulary

if TYPE_CHECKING:
    from firesteel.backend.scripted.plan import Cursor

_NUM_MARKERS = vocabulary.NUM_REPLY_MARKERS
_run_ids = itertools.count()


def extend_checksum(checksum: int, tokens: array[int]) -> int:
    """Return the CRC-32 of a history that goes on with `tokens`."""
    return zlib.crc32(tokens, checksum)


class SequenceKV:
    """The computed tokens of one sequence, and what follows from them.

    `markers` are the positions of the tokens that open a reply. `cursor` is derived state and may be None at
    any time. Cells are shared between forks: a cell is known by its position and the run that computed it.
    """

    __slots__ = ("_checksum", "_num_checked", "_num_shared", "cursor", "markers", "runs", "tokens")

    def __init__(self) -> None:
        self.tokens = array("H")
        self.markers: list[int] = []
        self.cursor: Cursor | None = None
        self.runs: list[tuple[int, int]] = [(0, next(_run_ids))]  # (first position, run id)
        self._num_shared = 0  # first positions that were ever shared with a fork
        self._checksum = 0
        self._num_checked = 0

    def extend(self, tokens: list[int]) -> None:
        """Append computed tokens."""
        if len(tokens) == 1 and tokens[0] >= _NUM_MARKERS:
            self.tokens.append(tokens[0])
        else:
            self.extend_array(array("H", tokens))

    def extend_array(self, tokens: array[int]) -> None:
        """Append computed tokens and note where a reply opens."""
        found = np.flatnonzero(np.frombuffer(tokens, np.uint16) < _NUM_MARKERS)
        if len(found):
            self.markers += (found + len(self.tokens)).tolist()
            self.cursor = None
        self.tokens += tokens

    def trim(self, to: int) -> None:
        """Forget the tokens from position `to` on."""
        del self.tokens[to:]
        if self.markers and self.markers[-1] >= to:
            del self.markers[bisect_left(self.markers, to) :]
            self.cursor = None
        if self.cursor is not None and not self.cursor.trim(to):
            self.cursor = None
        if to < self._num_checked:
            self._checksum = self._num_checked = 0
        if to < self._num_shared:
            self._start_run(self.runs, to)

    def fork(self, source: SequenceKV, to: int) -> None:
        """Share the first `to` tokens of `source`; this sequence must be empty."""
        self.extend_array(source.tokens[:to])
        self._start_run(source.runs, to)
        source._num_shared = max(source._num_shared, to)

    def _start_run(self, runs: list[tuple[int, int]], at: int) -> None:
        """Keep the cells of `runs` before position `at`; those computed from there on are this sequence's."""
        self.runs = [*(run for run in runs if run[0] < at), (at, next(_run_ids))]
        self._num_shared = at

    def checksum(self) -> int:
        """Return the CRC-32 of all tokens; costs O(new tokens), about 2 ns each after a trim."""
        if self._num_checked != len(self.tokens):
            self._checksum = extend_checksum(self._checksum, self.tokens[self._num_checked :])
            self._num_checked = len(self.tokens)
        return self._checksum


def count_cells(sequences: Iterable[SequenceKV]) -> int:
    """Return how many distinct cells `sequences` hold; what a fork shares counts once. O(runs)."""
    reach: dict[tuple[int, int], int] = {}
    for kv in sequences:
        ends = [start for start, _ in kv.runs[1:]] + [len(kv.tokens)]
        for run, end in zip(kv.runs, ends, strict=True):
            reach[run] = max(reach.get(run, 0), end)
    return sum(end - start for (start, _), end in reach.items())
