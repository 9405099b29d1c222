"""Which draft a step verifies, and how much of it: the most expected tokens a second, by measured cost."""

from collections.abc import Sequence

from firesteel.engine.cost import StepCost
from firesteel.engine.draft.base import Draft, Evidence
from firesteel.engine.draft.calibration import Calibration

MARGIN = 1.03  # a draft must promise so much more than none: what it promises is an estimate


class Arbiter:
    """Compares drafts of every length with no draft."""

    def __init__(self, cost: StepCost) -> None:
        self._cost = cost

    def choose(
        self,
        drafts: Sequence[Draft],
        calibration: Calibration,
        *,
        num_rows: int,
        num_tokens: int,
        others: float = 0.0,
        max_tokens: int,
    ) -> tuple[Draft | None, float]:
        """Return the draft that pays best, cut to the best length, and the tokens that the step then yields.

        `num_rows`: rows of the step without it. `num_tokens`: of history. `others`: tokens that the rest of the
        batch is expected to yield. `max_tokens`: of the draft at most.
        A step that nobody ever timed is timed first: without a draft, then with one token.
        """
        if not self._cost.knows(num_rows) and self._cost.seconds(num_rows) > 0:
            return None, 1.0
        longest = min(max_tokens, max((len(draft.tokens) for draft in drafts), default=0))
        costs = self._cost.curve(num_rows, longest, num_tokens)
        best: tuple[Draft, int] | None = None
        best_rate, best_yield = MARGIN * (others + 1.0) / costs[0], 1.0
        for draft in drafts:
            expected, chance = 1.0, 1.0
            known: dict[Evidence, float] = {}  # most tokens of a draft have the same evidence
            for length, evidence in enumerate(draft.evidence[:longest], 1):
                right = known.get(evidence)
                if right is None:
                    right = known[evidence] = calibration.chance(draft.source, evidence)
                chance *= right
                expected += chance
                rate = (others + expected) / costs[length]
                if rate > best_rate:
                    best, best_rate, best_yield = (draft, length), rate, expected
        if best is None and longest and not self._cost.knows(num_rows + 1):
            best, best_yield = self._likeliest(drafts, calibration)
        return (_cut(*best), best_yield) if best is not None else (None, 1.0)

    def _likeliest(self, drafts: Sequence[Draft], calibration: Calibration) -> tuple[tuple[Draft, int], float]:
        """Return the best draft of one token: where a second row is free, it pays however weak its source."""
        chances = [calibration.chance(draft.source, draft.evidence[0]) for draft in drafts]
        chance = max(chances)
        return (drafts[chances.index(chance)], 1), 1.0 + chance


def _cut(draft: Draft, length: int) -> Draft:
    """Return the first `length` tokens of a draft."""
    return Draft(draft.source, draft.tokens[:length], draft.evidence[:length], draft.distributions[:length])
