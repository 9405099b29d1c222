"""What a step of n rows costs on this machine, learned while running."""

SMOOTHING = 0.3  # weight of the newest observation


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
            average + SMOOTHING * (seconds - average),
        )

    def rows_within(self, seconds: float, *, default: int) -> int:
        """Return the most rows whose step stays within `seconds`, at least 1; `default` before any data."""
        points = sorted(self._points.values())
        if not points:
            return default
        within = [point for point in points if point[1] <= seconds]
        if not within:
            rows, cost = points[0]
            return max(1, int(rows * seconds / cost))
        low = within[-1]
        high = next((point for point in points if point[0] > low[0]), None)
        slope = (high[1] - low[1]) / (high[0] - low[0]) if high else low[1] / low[0]
        return max(1, int(low[0] + (seconds - low[1]) / max(slope, 1e-9)))
