"""What a step of n rows costs on this machine at a given history, learned while running."""

from bisect import bisect_left
from typing import Any

SIZES = (  # rows of a bucket, at most
    *range(1, 9),
    *(10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 128, 192, 256, 512, 1024, 4096),
)
KEEP = 0.8  # weight of what was known, against the newest observation
DOUBT = 4  # the longer a size was avoided, the less counts what was known of it: weight times optimism to this power
MOST_PACE = 1e4  # how much slower or faster than at first a machine may become
PACE_KEEP = 0.9  # the same, of the machine's pace
MOST_AT_ONCE = 2.0  # an observation counts at most as this many times the expected: one stall proves nothing
FORGETTING = 0.99  # what a step size is thought to cost decays so each time it is avoided, so it is tried again
MARGINAL = 0.3  # of a step of one row: what one more row is thought to cost before any has been timed
SLOPE_EXPONENT = 0.7  # rows share some of the attention over a history: measured, 1 to 16 rows
STEADY = 0.25  # in (1,024 tokens)²: how much spread of history it takes to believe an observed slope
TOKENS = 1024.0
LEAST_SECONDS = 1e-9  # of a step: below the sizes seen, a line through two of them may cross zero
STEPS_OF_HISTORY = 8  # in 1,024 tokens: how finely histories are told apart


class Curve:
    """Seconds of steps of about as many rows, linear in the history: decayed least squares with a prior slope."""

    def __init__(self, sums: list[float] | None = None) -> None:
        self.sums = sums or [0.0] * 6  # weights, rows, history, seconds, history², history × seconds
        self._optimism = 1.0  # what is thought of it, by what was seen: less the longer it was avoided

    def observe(self, rows: float, history: float, seconds: float) -> None:
        """Take in one step; `history` in units of 1,024 tokens."""
        sums = self.sums  # written out: this runs at every step
        keep = KEEP * self._optimism**DOUBT
        sums[0] = keep * sums[0] + 1.0
        sums[1] = keep * sums[1] + rows
        sums[2] = keep * sums[2] + history
        sums[3] = keep * sums[3] + seconds
        sums[4] = keep * sums[4] + history * history
        sums[5] = keep * sums[5] + history * seconds
        self._optimism = 1.0

    @property
    def rows(self) -> float:
        """Rows of the steps seen, on average."""
        return self.sums[1] / self.sums[0]

    def slope(self, prior: float) -> float:
        """Return the seconds that 1,024 tokens of history add; not negative."""
        weight, _, history, seconds, squares, products = self.sums
        spread = squares - history * history / weight
        return max(0.0, (products - history * seconds / weight + STEADY * prior) / (spread + STEADY))

    def seconds(self, history: float, slope: float) -> float:
        """Return what a step costs at `history`."""
        at = self.sums[2] / self.sums[0]
        average = self.sums[3] / self.sums[0]
        return self._optimism * max(average + slope * (history - at), 0.1 * average)

    def forget(self, kept: float, least: float) -> None:
        """Look a little cheaper, until it is seen again: `kept` of what was thought, and `least` of what was seen."""
        self._optimism = max(least, kept * self._optimism)


def _within(seconds: float, most: float) -> float:
    """Return `seconds`, at most `most`; a step that took time never becomes free, from which no size recovers."""
    return max(min(seconds, most), min(seconds, LEAST_SECONDS))


class StepCost:
    """Seconds of a step as a function of its rows and of the tokens in the context.

    The curves are relative to the machine's pace, which follows quickly: a slow spell, in which only some sizes
    are seen, must not make the others look cheap.
    """

    def __init__(self) -> None:
        self._curves: dict[int, Curve] = {}
        self._pace = 1.0
        self._known: dict[float, list[tuple[float, float]]] = {}  # history → points, since the last change

    def observe(self, num_rows: int, seconds: float, num_tokens: int = 0) -> None:
        """Learn from a finished step over a context of `num_tokens` tokens."""
        bucket, history = bisect_left(SIZES, num_rows), num_tokens / TOKENS
        curve = self._curves.get(bucket)
        if curve is None:
            if self._curves:
                seconds = _within(seconds, MOST_AT_ONCE * self.seconds(num_rows, num_tokens))
            curve = self._curves[bucket] = Curve()
        else:
            expected = self._pace * curve.seconds(history, curve.slope(0.0))
            seconds = _within(seconds, MOST_AT_ONCE * expected)
            if seconds > 0 < expected:
                pace = self._pace * (seconds / expected) ** (1 - PACE_KEEP)
                self._pace = min(max(pace, 1 / MOST_PACE), MOST_PACE)
        curve.observe(num_rows, history, seconds / self._pace)
        self._known.clear()

    def seconds(self, num_rows: int, num_tokens: int = 0) -> float:
        """Return what a step is expected to cost; 0 before anything was seen."""
        points = self._points(num_tokens / TOKENS)
        return self._between(points, num_rows) if points else 0.0

    def knows(self, num_rows: int) -> bool:
        """Return whether a step of about so many rows was ever timed."""
        return bisect_left(SIZES, num_rows) in self._curves

    def _between(self, points: list[tuple[float, float]], num_rows: int) -> float:
        """Return the cost of `num_rows` between, or beyond, the sizes seen."""
        return self._from(points, bisect_left(points, (float(num_rows),)), num_rows)

    def _from(self, points: list[tuple[float, float]], high: int, num_rows: int) -> float:
        """Return the cost of `num_rows`; `points[high]` is the first size that is not smaller."""
        at, cost, slope = self._segment(points, high)
        return cost + slope * (num_rows - at)

    def _segment(self, points: list[tuple[float, float]], high: int) -> tuple[float, float, float]:
        """Return the line up to `points[high]`: a size, its cost, and what a row more costs."""
        if high == 0:
            return 0.0, points[0][1], 0.0
        low_rows, low = points[high - 1]
        if high < len(points):
            high_rows, cost = points[high]
            return low_rows, low, (cost - low) / (high_rows - low_rows)
        return low_rows, low, self._marginal(points)

    def _marginal(self, points: list[tuple[float, float]]) -> float:
        """Return what a row more costs beyond the largest size seen."""
        rows, cost = points[-1]
        if len(points) == 1:
            return cost * MARGINAL / max(1.0, 1 + MARGINAL * (rows - 1))
        before_rows, before = points[-2]
        return max((cost - before) / (rows - before_rows), 0.5 * cost / rows)

    def _points(self, history: float) -> list[tuple[float, float]]:
        """Return (rows, seconds) of each size seen, ascending in rows; computed again only after a change."""
        history = round(history * STEPS_OF_HISTORY) / STEPS_OF_HISTORY
        points = self._known.get(history)
        if points is None:
            points = self._known[history] = self._computed_points(history)
        return points

    def _computed_points(self, history: float) -> list[tuple[float, float]]:
        points, slope, rows = [], 0.0, 1.0
        for _, curve in sorted(self._curves.items()):
            slope = curve.slope(slope * (curve.rows / rows) ** SLOPE_EXPONENT)
            rows = curve.rows
            points.append((rows, self._pace * curve.seconds(history, slope)))
        return points

    def curve(self, num_rows: int, count: int, num_tokens: int = 0) -> list[float]:
        """Return what a step of `num_rows`, `num_rows + 1`, … rows costs, `count` more than the first; never falling.

        In units of an unknown step before any was seen; a clock that stands still makes all rows free.
        """
        points = self._points(num_tokens / TOKENS)
        if not points:
            return [1.0 + MARGINAL * more for more in range(count + 1)]
        if points[0][1] <= 0:
            return [1.0] * (count + 1)
        costs, found, rows, end = [], LEAST_SECONDS, num_rows, num_rows + count
        high = bisect_left(points, (float(num_rows),))
        while rows <= end:
            at, cost, slope = self._segment(points, high)
            last = min(end, int(points[high][0])) if high < len(points) else end
            for here in range(rows, last + 1):
                found = max(found, cost + slope * (here - at))
                costs.append(found)
            rows, high = max(rows, last + 1), high + 1
        return costs

    def rows_within(self, seconds: float, *, default: int, num_tokens: int = 0) -> int:
        """Return the most rows whose step stays within `seconds`, at least 1; `default` before any data."""
        points = self._points(num_tokens / TOKENS)
        if not points:
            return default
        low = max((point for point in points if point[1] <= seconds), default=None)
        if low is None:
            self.forget(0)
            rows, cost = points[0]
            return max(1, int(rows * seconds / cost))
        high = next((point for point in points if point[0] > low[0]), None)
        slope = (high[1] - low[1]) / (high[0] - low[0]) if high else low[1] / low[0]
        found = max(1, int(low[0] + (seconds - low[1]) / max(slope, 1e-9)))
        self.forget(found + 1)
        return found

    def forget(self, first_row: int, kept: float = FORGETTING, least: float = 0.0) -> None:
        """Let the sizes that are avoided now, from `first_row` rows on, slowly look cheaper, so that they are tried."""
        for bucket, curve in self._curves.items():
            if SIZES[bucket] >= first_row:
                curve.forget(kept, least)
        self._known.clear()

    def table(self, num_tokens: int = 0) -> list[tuple[int, float]]:
        """Return (rows, seconds) of each size seen."""
        return [(round(rows), seconds) for rows, seconds in self._points(num_tokens / TOKENS)]

    def dump(self) -> list[Any]:
        """Return what was learned, as JSON can hold it."""
        scale = (1.0, 1.0, 1.0, self._pace, 1.0, self._pace)
        return [
            [bucket, *(value * by for value, by in zip(curve.sums, scale, strict=True))]
            for bucket, curve in self._curves.items()
        ]

    def restore(self, dumped: list[Any]) -> None:
        """Take over what `dump` returned. Raises ValueError or TypeError for anything else."""
        for bucket, *sums in dumped:
            if not 0 <= bucket < len(SIZES) or len(sums) != 6 or min(map(float, sums)) < 0 or not sums[0]:
                raise ValueError(f"{bucket}: {sums} is no cost of a step")
            self._curves[int(bucket)] = Curve([float(value) for value in sums])
        self._known.clear()
