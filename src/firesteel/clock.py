"""Time, and the only definitions of TTFT, ITL and TPOT.

- **TTFT**: request received → first non-empty text sent.
- **ITL**: gap between two consecutive tokens of one sequence, as the engine accepted them.
- **TPOT**: (end − first text) ÷ (tokens − 1).
- **chunk gap**: gap between two SSE events. Never called ITL: a chunk may hold many tokens.

Code that waits takes a `Clock`, so that tests run on a `ManualClock` without sleeping.
"""

import time
from typing import Protocol


class Clock(Protocol):
    """A source of monotonic seconds that can also wait."""

    def now(self) -> float:
        """Return monotonic seconds."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait for `seconds`."""
        ...


class SystemClock:
    """The machine's monotonic clock."""

    now = staticmethod(time.perf_counter)
    sleep = staticmethod(time.sleep)


class ManualClock:
    """A clock that moves only when told to, or when someone sleeps on it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        """Return the seconds set so far."""
        return self.seconds

    def sleep(self, seconds: float) -> None:
        """Move the clock forward by `seconds` at once."""
        self.seconds += seconds


def time_per_output_token(first: float, last: float, num_tokens: int) -> float:
    """Return TPOT in seconds for `num_tokens` tokens between two times; 0.0 for fewer than two tokens."""
    return (last - first) / (num_tokens - 1) if num_tokens > 1 else 0.0
