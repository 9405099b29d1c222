"""How often each kind of evidence of each source was right: the chance that the arbiter reckons with."""

from collections.abc import Callable
from typing import Any

from firesteel.engine.draft.base import Evidence

MEMORY = 400.0  # observations of one kind after which older ones begin to count less
TRUST = 6.0  # observations after which what was seen weighs as much as what was believed before

Key = tuple[str, Evidence]
Belief = Callable[[str, Evidence], float]


class Calibration:
    """Counts of right and wrong by (source, evidence), on top of a belief that holds until there are some.

    Every proposal is scored, used or not: the tokens that come are known either way, so learning costs no rows.
    """

    def __init__(self, belief: Belief) -> None:
        self._belief = belief
        self._counts: dict[Key, list[float]] = {}  # [right, all]

    def chance(self, source: str, evidence: Evidence) -> float:
        """Return the chance of a token that is proposed for this reason, all before it being right."""
        believed = self._belief(source, evidence)
        counts = self._counts.get((source, evidence))
        return believed if counts is None else (counts[0] + TRUST * believed) / (counts[1] + TRUST)

    def learn(self, source: str, evidence: Evidence, *, right: int, total: int = 1) -> None:
        """Take in that of `total` tokens proposed for one reason so many were right."""
        counts = self._counts.setdefault((source, evidence), [0.0, 0.0])
        counts[0] += right
        counts[1] += total
        if counts[1] > MEMORY:
            counts[0], counts[1] = counts[0] / 2, counts[1] / 2

    def dump(self) -> list[Any]:
        """Return what was learned, as JSON can hold it."""
        return [[source, evidence, *counts] for (source, evidence), counts in self._counts.items()]

    def restore(self, dumped: list[Any]) -> None:
        """Take over what `dump` returned. Raises ValueError or TypeError for anything else."""
        for source, evidence, right, total in dumped:
            kind = tuple(map(int, evidence)) if isinstance(evidence, list) else int(evidence)
            if not 0 <= float(right) <= float(total):
                raise ValueError(f"{right} of {total} cannot be right")
            self._counts[str(source), kind] = [float(right), float(total)]
