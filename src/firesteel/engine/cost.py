"""What a step of n rows costs on this machine, learned while running."""

SMOOTHING = 0.3  # weight of the newest observation
MOST_AT_ONCE = 2.0  # an observation counts at most as this many times the average: one stall proves nothing
FORGETTING = 0.99  # what a step size is thought to cost decays so each time it is avoided, so it is tried again


class StepCost:
    """Seconds of a step as a function of its rows, by powers of two, averaged with exponential decay.

    Between two observed sizes the cost is interpolated linearly, beyond them by the nearest cost per row.
    """

    def __init__(self) -> None:
        self._points: dict[int, tuple[float, float]] = {}  # bucket -> (rows, seconds)

    def observe(self, num_rows: int, seconds: float) -> None:
        """Learn from a finished step."""
        bucket = num_rows.bit_length()
        rows, average = self._points.get(bucket, (float(num_rows), seconds))
        self._points[bucket] = (
            rows + SMOOTHING * (num_rows - rows),
            average + SMOOTHING * (min(seconds, MOST_AT_ONCE * average) - average),
        )

    def rows_within(self, seconds: float, *, default: int) -> int:
        """Return the most rows whose step stays within `seconds`, at least 1; `default` before any data."""
        if not self._points:
            return default
        points = sorted(self._points.values())
        low = max((point for point in points if point[1] <= seconds), default=None)
        if low is None:
            self._forget(1)
            rows, cost = points[0]
            return max(1, int(rows * seconds / cost))
        high = next((point for point in points if point[0] > low[0]), None)
        slope = (high[1] - low[1]) / (high[0] - low[0]) if high else low[1] / low[0]
        found = max(1, int(low[0] + (seconds - low[1]) / max(slope, 1e-9)))
        self._forget(found.bit_length() + 1)
        return found

    def _forget(self, first_bucket: int) -> None:
        """Let the sizes that are avoided now, from `first_bucket` on, slowly look cheaper."""
        for bucket, (rows, seconds) in self._points.items():
            if bucket >= first_bucket:
                self._points[bucket] = (rows, seconds * FORGETTING)
