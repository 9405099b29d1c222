"""Time between tokens: a histogram that costs no lock, since only the event loop counts."""

from bisect import bisect_left
from collections.abc import Iterator

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

GAP_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Gaps(Collector):
    """Gaps between tokens, each counted once for each token that came after it."""

    def __init__(self) -> None:
        self._counts = [0] * (len(GAP_SECONDS) + 1)
        self._sum = 0.0

    def add(self, seconds: float, num_tokens: int) -> None:
        """Count `num_tokens` that came together, `seconds` after those before them."""
        self._counts[bisect_left(GAP_SECONDS, seconds / num_tokens)] += num_tokens
        self._sum += seconds

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Yield the histogram."""
        total, buckets = 0, []
        for bound, count in zip([*map(str, GAP_SECONDS), "+Inf"], self._counts, strict=True):
            total += count
            buckets.append((bound, total))
        yield HistogramMetricFamily("firesteel_itl_seconds", "Gap between tokens", buckets=buckets, sum_value=self._sum)


class Pace:
    """When the texts of one answer came, by sequence."""

    def __init__(self, gaps: Gaps, started_at: float) -> None:
        self._gaps = gaps
        self._started_at = started_at
        self._last: dict[str, float] = {}

    def text(self, id: str, num_tokens: int, now: float) -> float | None:
        """Take text of sequence `id` at `now`; return the TTFT at the first text of all, `None` later."""
        last = self._last.get(id)
        first = None if self._last else now - self._started_at
        self._last[id] = now
        if last is not None and num_tokens > 0:
            self._gaps.add(now - last, num_tokens)
        return first
