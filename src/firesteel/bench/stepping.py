"""The child process that computes steps for `bench step`: one JSON object a line in, one out.

Runs in other environments than ours, too (`bench.step_ik`), so it needs nothing but Python itself.
"""

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

PR_SET_PDEATHSIG = 1  # prctl(2)
SLOW_SECONDS = 0.5  # of one step; then one timed run must do

Json = dict[str, Any]


class Stepper(Protocol):
    """A model that holds one sequence."""

    def about(self) -> Json:
        """Return what this is: `name` and `version`, and what else a reader should know."""
        ...

    def compute(self, tokens: list[int], position: int, num_wanted: int) -> None:
        """Compute `tokens` at `position`, and choose the best token after each of the last `num_wanted` of them."""
        ...

    def trim(self, to: int) -> None:
        """Drop the KV from position `to` on."""
        ...

    def bytes_read(self) -> int | None:
        """Return the bytes of weights and KV that all steps so far have read; None where nobody counts."""
        ...


class History:
    """One sequence of a stepper, which is filled and stepped on; answers the requests of `bench.step_child`."""

    def __init__(self, stepper: Stepper, chunk_rows: int) -> None:
        """`chunk_rows`: rows of one call of `compute` while a history is filled."""
        self._stepper, self._chunk_rows = stepper, chunk_rows
        self._tokens: list[int] = []
        self.length = 0

    def tokens(self, tokens: list[int]) -> Json:
        """Take the text that every history begins with."""
        self._trim(0)
        self._tokens = tokens
        return {}

    def fill(self, to: int) -> Json:
        """Make the sequence hold exactly the positions 0 to `to`; `seconds` says how long that took."""
        started = time.perf_counter()
        if to < self.length:
            self._trim(to)
        while self.length < to:
            count = min(self._chunk_rows, to - self.length)
            self._compute(count, num_wanted=int(self.length + count == to))
        return {"seconds": time.perf_counter() - started}

    def step(self, rows: int, runs: int) -> Json:
        """Time a step of `rows` rows, all of them wanted, `runs` times after an untimed one; `bytes` of one step.

        The sequence is then as it was before. Slow steps are timed once.
        """
        before = self._stepper.bytes_read()
        warm = self._timed(rows)
        after = self._stepper.bytes_read()
        seconds = [self._timed(rows) for _ in range(1 if warm > SLOW_SECONDS else runs)]
        return {"seconds": seconds, "bytes": None if before is None or after is None else after - before}

    def _timed(self, rows: int) -> float:
        length = self.length
        started = time.perf_counter()
        self._compute(rows, num_wanted=rows)
        elapsed = time.perf_counter() - started
        self._trim(length)
        return elapsed

    def _compute(self, count: int, num_wanted: int) -> None:
        self._stepper.compute(self._tokens[self.length : self.length + count], self.length, num_wanted)
        self.length += count

    def _trim(self, to: int) -> None:
        self._stepper.trim(to)
        self.length = to


def serve(make: Callable[[], tuple[Stepper, int]]) -> None:
    """Make a stepper, say what it is, and answer requests until standard input ends.

    `make` returns the stepper and the rows of its chunks. What libraries print goes to standard error.
    """
    _end_with_parent()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    stepper, chunk_rows = make()
    history = History(stepper, chunk_rows)
    requests: dict[str, Callable[..., Json]] = {"tokens": history.tokens, "fill": history.fill, "step": history.step}
    print(json.dumps(stepper.about() | {"chunk_rows": chunk_rows}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(requests[request.pop("do")](**request)), file=answers, flush=True)


def _end_with_parent() -> None:
    """Die when the benchmark dies, however it does: while others are measured this process is stopped, and hears
    of nothing else.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
