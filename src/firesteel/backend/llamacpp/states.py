"""KV of single sequences in host memory: whole or in blocks of positions, appended one by one.

With a unified KV cache a block is saved through a *scratch* sequence: `llama_memory_seq_cp` lets it share the
block's cells (nothing is copied), and libllama serialises it whole. Loading goes the same way back, because
`llama_state_seq_set_data` empties its target first. Models that cannot trim keep no scratch sequence: theirs
would be a whole recurrent state more.
"""

import ctypes
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from firesteel.backend.llamacpp import library

Buffer = npt.NDArray[np.uint8]


class States:
    """Reads and writes the KV of one context's sequences; a step must not be running."""

    def __init__(self, llama: ModuleType, context: ctypes.c_void_p, scratch: int | None) -> None:
        """`scratch` is a sequence id that nothing else uses; None: only whole sequences."""
        self._llama = llama
        self._context = context
        self._memory = llama.llama_get_memory(context)
        self._scratch = scratch

    def length(self, sequence: int) -> int:
        """Return how many positions `sequence` holds; they begin at 0 without a gap."""
        return int(self._llama.llama_memory_seq_pos_max(self._memory, sequence)) + 1

    def save(self, sequence: int, start: int, end: int | None) -> Buffer:
        """Copy the positions `start` to `end` (None: all) to host memory; about 4.5 µs a token of a 0.5B model."""
        length = self.length(sequence)
        end = length if end is None else end
        assert 0 <= start <= end <= length, f"sequence {sequence} holds {length} positions, not {start} to {end}"
        if (start, end) == (0, length):
            return self._read(sequence)
        assert self._scratch is not None, "this model's KV can only be saved whole"
        if start == end:
            return self._read(self._scratch)
        self._llama.llama_memory_seq_cp(self._memory, sequence, self._scratch, start, end)
        try:
            return self._read(self._scratch)
        finally:
            self._clear(self._scratch)

    def load(self, sequence: int, state: Any) -> bool:
        """Append a saved KV; see `Backend.load`. AssertionError: it was saved at another position."""
        buffer, length = np.frombuffer(state, np.uint8), self.length(sequence)
        if self._scratch is None:
            assert not length, f"sequence {sequence} holds {length} positions; this model loads only into empty ones"
            return self._write(sequence, buffer)
        if not self._write(self._scratch, buffer):
            return False
        first = int(self._llama.llama_memory_seq_pos_min(self._memory, self._scratch))
        fits = first in (length, -1)  # -1: nothing was saved
        if fits:
            self._llama.llama_memory_seq_cp(self._memory, self._scratch, sequence, -1, -1)
        self._clear(self._scratch)
        assert fits, f"sequence {sequence} holds {length} positions; the state was saved at {first}"
        return True

    def _read(self, sequence: int) -> Buffer:
        size = self._llama.llama_state_seq_get_size(self._context, sequence)
        state: Buffer = np.empty(size, dtype=np.uint8)
        written = self._llama.llama_state_seq_get_data(self._context, _pointer(state), size, sequence)
        assert written == size, f"sequence {sequence} cannot be saved: {library.last_errors()}"
        return state

    def _write(self, sequence: int, state: Buffer) -> bool:
        """Replace what `sequence` holds; on failure it holds nothing."""
        read = self._llama.llama_state_seq_set_data(self._context, _pointer(state), state.size, sequence)
        if read == state.size:
            return True
        library.last_errors()  # it told the log why; the next failure must not be blamed on it
        self._clear(sequence)
        return False

    def _clear(self, sequence: int) -> None:
        self._llama.llama_memory_seq_rm(self._memory, sequence, -1, -1)


def _pointer(state: Buffer) -> Any:
    """Return the address of the first byte; works for read-only buffers too, which libllama only reads."""
    return ctypes.cast(state.ctypes.data, ctypes.POINTER(ctypes.c_uint8))
