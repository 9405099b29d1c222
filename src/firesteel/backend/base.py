"""The protocol that every backend speaks.

A *row* is one token of one sequence at one position; `Rows` is a run of consecutive rows of one sequence.
A batch is a list of `Rows`, at most one per sequence. The engine thread owns the backend: no method
but `abort` may be called from elsewhere.
"""

from enum import IntEnum
from typing import Any, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from firesteel.types import ModelInfo, Sampling, Tokenizer

State = Any  # KV in host memory: an opaque contiguous buffer of bytes, which may travel through a file
Logits = npt.NDArray[np.float32]  # [vocabulary_size]


_MASK = (1 << 64) - 1


def uniform(seed: int, position: int) -> float:
    """Return a number in [0, 1) that depends on `seed` and `position` only (SplitMix64, Steele et al. 2014).

    Counter-based, so a sequence that is preempted, rewound or drafted draws the same numbers again.
    """
    z = (seed + (position + 1) * 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return float((z ^ (z >> 31)) >> 11) / (1 << 53)


class Want(IntEnum):
    """What the engine needs of the last row of a run, and of the rows of a draft."""

    NONE = 0  # more of the prompt follows
    BEST = 1  # the most likely token
    LOGITS = 2  # all logits, to sample on the host


class Rows(msgspec.Struct):
    """Consecutive rows of one sequence: `tokens[i]` stands at `position + i`.

    The last `num_draft` tokens are guesses. What is wanted is then wanted of each of them, too, and of the row
    before the first: whoever reads the outputs trims the KV to what was right.
    """

    sequence: int
    position: int
    tokens: list[int]
    want: Want
    limit: int = 1  # BEST only: at most this many tokens may come back (see `max_step_tokens`)
    num_draft: int = 0  # less than len(tokens); 0 where `limit` > 1
    sampling: Sampling | None = None  # BEST only, with `can_sample`: how the token is drawn, rather than the likeliest
    seed: int = 0  # of `sampling`: the token at a position is drawn with `uniform(seed, position)`
    window: float | None = None  # LOGITS only: those further than this below the best may be anything below it

    @property
    def known(self) -> list[int]:
        """The tokens that are no guesses."""
        return self.tokens[: -self.num_draft] if self.num_draft else self.tokens

    @property
    def draft(self) -> list[int]:
        """The guesses."""
        return self.tokens[len(self.tokens) - self.num_draft :]

    @property
    def num_wanted(self) -> int:
        """How many rows, the last ones, have an output."""
        return 0 if self.want is Want.NONE else 1 + self.num_draft


class Output(msgspec.Struct):
    """The answer to one `Rows`, in batch order.

    `tokens`: for BEST, the best token of each wanted row. Without a draft, a backend with `max_step_tokens > 1`
    may return up to `Rows.limit` of them, each already in its KV except the last (as if drafted on the device).
    `logits`: for LOGITS, a view for each wanted row, valid until the next `submit`; the engine may write into it.
    """

    tokens: list[int] = []
    logits: list[Logits] = []


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a backend can do, and the shapes that suit it."""

    num_cells: int  # KV cells shared by all sequences
    max_sequences: int  # sequence ids are 0 … max_sequences - 1
    max_rows: int  # rows of one batch
    max_wanted_rows: int  # rows of one batch that may have an output
    chunk_rows: int  # rows of the fastest prefill chunk
    max_step_tokens: int = 1  # tokens that one BEST row may yield; more than one needs `can_trim`
    can_trim: bool = True
    can_fork: bool = True
    can_abort: bool = False  # `abort` interrupts a running step
    can_sample: bool = False  # BEST rows may have `Rows.sampling`
    can_draft: bool = False  # it guesses by itself within a step of several tokens; see `DeviceDrafting`


class Aborted(Exception):
    """`wait` was interrupted by `abort`; the KV of the batch's sequences holds what was there before."""


class Backend(Protocol):
    """A model with its KV cache."""

    info: ModelInfo
    capabilities: Capabilities
    native_seconds: float  # time spent outside Python, for the overhead figure

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer, usable from any thread."""
        ...

    def submit(self, batch: list[Rows]) -> None:
        """Take a batch; at most `max_rows` rows, positions continuing each sequence's KV."""
        ...

    def wait(self) -> list[Output]:
        """Compute the submitted batch and return one output per `Rows`.

        Raises `Aborted` after `abort`, `EngineFailure` when the model cannot go on.
        """
        ...

    def abort(self) -> None:
        """Interrupt the running step from another thread. Without effect when no step runs."""
        ...

    def trim(self, sequence: int, to: int) -> None:
        """Drop the KV of `sequence` from position `to` on; `to == 0` frees it."""
        ...

    def fork(self, source: int, target: int, to: int) -> None:
        """Make `target` (empty) share the first `to` positions of `source`."""
        ...

    @property
    def state_fingerprint(self) -> str:
        """What a saved KV depends on: backend, model, KV types, build. Another one's states must not be loaded.

        Step costs that were learned are kept under it, too, so a change of kernels must change it.
        """
        ...

    def save(self, sequence: int, start: int = 0, end: int | None = None) -> State:
        """Return the KV of `sequence` at the positions `start` to `end` (None: all), for `load`.

        Where `can_trim` is false only the whole can be saved.
        """
        ...

    def load(self, sequence: int, state: State) -> bool:
        """Append a saved KV: `sequence` holds exactly the positions before it. False when it does not fit or fails.

        `sequence` is then as it was before. Only states of the same `state_fingerprint`.
        """
        ...

    def state_bytes(self, state: State) -> int:
        """Return the host memory that a saved KV occupies."""
        ...

    def close(self) -> None:
        """Free everything. The backend cannot be used afterwards."""
        ...


class DeviceDrafting(Protocol):
    """What a backend offers beside `Backend` whose `can_draft` is true. Guesses change no text, only its pace."""

    def expect(self, sequence: int, tokens: list[int], start: int) -> None:
        """Say what the answer of `sequence`, which begins at position `start`, is expected to repeat; may be empty."""
        ...
