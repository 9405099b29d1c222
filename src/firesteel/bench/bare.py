"""The bare cost of computing rows: libllama in this process, nothing around it, at any length of history.

The history is real for its first 1,024 tokens and copied from there on: a saved KV is loaded again and again
with its positions moved on. A step does the same arithmetic on the same number of bytes as with hours of
prefill behind it; only what it says means nothing (the keys keep the rotation of where they were computed).
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import TYPE_CHECKING

from firesteel.backend.base import Backend, Rows, State, Want
from firesteel.bench.conversation import text_of
from firesteel.bench.subject import SCRIPTED, Subject
from firesteel.errors import ConfigError, EngineFailure

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

BLOCK = 1_024
PAGE = 64  # positions by whose multiples a state of own kernels may be moved: whole pages are copied as they lie
RUNS = 3
HEADER_WORDS, CELL_WORDS = 4, 3  # int32: magic, sequence, streams, cells; then position, number of owners, owner


class Bare:
    """One sequence of a backend that does nothing else."""

    def __init__(self, backend: Backend, tokens: list[int]) -> None:
        """`tokens`: at least `BLOCK` of them, of real text."""
        if not backend.capabilities.can_trim:
            raise ConfigError(
                f"{backend.info.name} cannot go back to an earlier token, so single steps cannot be timed"
            )
        self.backend = backend
        self.length = 0
        self._tokens = tokens
        self._copies = backend.info.architecture != SCRIPTED  # whose states know what stands before them

    def fill(self, to: int) -> None:
        """Make the sequence hold exactly the positions 0 to `to`."""
        if to < self.length:
            self._trim(to)
        self._compute(min(to, BLOCK) if self._copies else to)
        if self.length < to:
            self._trim(self.length // PAGE * PAGE)
        while self.length < to:
            count = min(BLOCK, to - self.length)
            state = moved(self.backend.save(0, 0, count), self.length)
            if not self.backend.load(0, state):
                raise EngineFailure(f"a copy of {count} positions does not load behind {self.length}")
            self.length += count

    def seconds(self, rows: int, runs: int = RUNS) -> float:
        """Return the median time of computing `rows` rows and choosing a token, on top of the history."""
        return median(self.step(rows) for _ in range(runs))

    def step(self, rows: int) -> float:
        """Return the time of computing `rows` rows once; the sequence is then as it was before."""
        length = self.length
        started = time.perf_counter()
        self._compute(length + rows, Want.BEST)
        elapsed = time.perf_counter() - started
        self._trim(length)
        return elapsed

    def _compute(self, to: int, want: Want = Want.NONE) -> None:
        """Compute up to position `to`, in the chunks in which the engine prefills."""
        while self.length < to:
            count = min(self.backend.capabilities.chunk_rows, to - self.length)
            tokens = [self._tokens[(self.length + row) % len(self._tokens)] for row in range(count)]
            last = want if self.length + count == to else Want.NONE
            self.backend.submit([Rows(0, self.length, tokens, last)])
            self.backend.wait()
            self.length += count

    def _trim(self, to: int) -> None:
        self.backend.trim(0, to)
        self.length = to


def moved(state: State, by: int) -> "npt.NDArray[np.uint8]":
    """Return a copy of a saved state of the positions 0, 1, 2, …, which now begin at `by`: libllama's, or our own.

    For our own, `by` must be a multiple of `PAGE`.

    Raises `ConfigError` where a model's state has another layout than the one known here.
    """
    import numpy as np

    copy = np.frombuffer(state, np.uint8).copy()
    assert by % PAGE == 0 or not is_native(copy), f"pages of {PAGE} positions cannot be moved by {by}"
    (native_head(copy)[:1] if is_native(copy) else positions(copy))[:] += by
    return copy


def is_native(state: "npt.NDArray[np.uint8]") -> bool:
    """Return whether a state is of own kernels."""
    from firesteel.backend.native.backend import STATE_MAGIC

    return state[: len(STATE_MAGIC)].tobytes() == STATE_MAGIC


def native_head(state: "npt.NDArray[np.uint8]") -> "npt.NDArray[np.int32]":
    """Return first position and number of positions of a state of own kernels, a view (`STATE_HEAD`)."""
    import numpy as np

    return state[4:12].view(np.int32)


def positions(state: State) -> "npt.NDArray[np.int32]":
    """Return the positions in a state; of libllama's, a view of its bytes. Raises `ConfigError` as `moved` does.

    Layout: `llama_context::state_seq_get_data`, then `llama_kv_cache::state_write`.
    """
    import numpy as np

    data = np.frombuffer(state, np.uint8) if not isinstance(state, np.ndarray) else state
    if is_native(data):
        start, count = native_head(data).tolist()
        return np.arange(start, start + count, dtype=np.int32)
    words = data[: data.size // 4 * 4].view(np.int32)
    num_streams, num_cells = words[2:HEADER_WORDS].tolist() if words.size >= HEADER_WORDS else (0, 0)
    cells = words[HEADER_WORDS : HEADER_WORDS + num_cells * CELL_WORDS]
    found = cells[::CELL_WORDS]
    is_known = num_streams == 1 and cells.size == num_cells * CELL_WORDS and (cells[1::CELL_WORDS] == 1).all()
    if not (is_known and (found == found[:1] + np.arange(num_cells)).all()):
        raise ConfigError("this model's saved KV has an unknown layout, so its cache cannot be filled by copies")
    return found


@contextmanager
def opened(subject: Subject, context_tokens: int, **settings: object) -> Iterator[Bare]:
    """Load the model into this process until the block ends."""
    backend = subject.open_backend(context_tokens=context_tokens, **settings)
    try:
        yield Bare(backend, backend.tokenizer.encode(text_of(backend.tokenizer, BLOCK), special=False))
    finally:
        backend.close()
