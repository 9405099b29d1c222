"""The drafters of one sequence: what they propose, how it turned out, what was used of it."""

from collections import Counter
from collections.abc import Sequence

from firesteel.engine.draft.base import Draft, Drafter, num_common
from firesteel.engine.draft.calibration import Calibration
from firesteel.types import DraftUsage

KEEP = 0.9  # weight of what was known of cost and gain, against the newest step
NEXT_TO_NOTHING = 0.01  # of a step: so little is not worth resting for
FIRST_REST, LONGEST_REST = 16, 256  # steps without asking the drafters, where asking costs more than it brings


class Drafts:
    """Asks the drafters, scores their proposals against what came, and counts what was verified."""

    def __init__(self, drafters: Sequence[Drafter], calibrations: Sequence[Calibration] = ()) -> None:
        """`calibrations` learn from each proposal: those of the sequence and of the engine."""
        self._drafters = drafters
        self._calibrations = calibrations
        self._proposed: list[Draft] = []
        self._unseen: list[int] = []  # output that the drafters have not taken in yet
        self._counts: dict[str, list[int]] = {}  # source → steps, drafted, accepted
        self._seconds = self._gain = 0.0  # of asking, and saved by it, in an average step
        self._num_resting, self._rest = 0, FIRST_REST
        self._has_tables = self._has_rested = False

    def __bool__(self) -> bool:
        return bool(self._drafters)

    @property
    def calibration(self) -> Calibration:
        """What this sequence has taught, on top of what the engine knows."""
        return self._calibrations[0]

    def propose(self, max_tokens: int) -> list[Draft]:
        """Return what each drafter proposes now; it will be scored by `learn`."""
        if self._unseen:
            for drafter in self._drafters:
                drafter.accept(self._unseen)
            self._unseen = []
        proposed = [drafter.propose(max_tokens) for drafter in self._drafters]
        self._proposed = [draft for draft in proposed if draft is not None]
        return self._proposed

    def is_resting(self) -> bool:
        """Return whether asking is not worth its time in this step."""
        if self._num_resting:
            self._num_resting -= 1
            return True
        return False

    def weigh(self, seconds: float, saved: float, step_seconds: float) -> None:
        """Take in what asking took, and what it saved, of a step; rest a while where it costs more than it brings.

        `step_seconds`: of a step without drafts. Where that is long, asking is next to nothing and always done.
        """
        if not self._has_tables:
            self._has_tables = True  # the first time was spent on making them
            return
        keep = 0.0 if self._has_rested else KEEP
        self._seconds = keep * self._seconds + (1 - keep) * seconds
        self._gain, self._has_rested = KEEP * self._gain + (1 - KEEP) * saved, False
        if self._seconds <= max(self._gain, NEXT_TO_NOTHING * step_seconds):
            self._rest = FIRST_REST
            return
        self._num_resting, self._rest = self._rest, min(2 * self._rest, LONGEST_REST)
        self._has_rested = True

    def learn(self, tokens: list[int]) -> None:
        """Score what was proposed against the `tokens` that came, which the drafters then take in."""
        for draft in self._proposed:
            right = num_common(draft.tokens, tokens)
            seen = draft.evidence[: min(right + 1, len(tokens))]
            totals = Counter(seen)
            wrong = seen[right] if right < len(seen) else None
            for evidence, total in totals.items():
                for calibration in self._calibrations:
                    calibration.learn(draft.source, evidence, right=total - (evidence == wrong), total=total)
        self.accept(tokens)

    def accept(self, tokens: list[int]) -> None:
        """Take in output; what was proposed before is void."""
        self._proposed = []
        if self._drafters:
            self._unseen += tokens

    def rewind(self, output: list[int]) -> None:
        """Let the drafters go back to where the output was `output`."""
        self._proposed, self._unseen = [], []
        for drafter in self._drafters:
            drafter.rewind(output)

    def count(self, draft: Draft, num_accepted: int) -> None:
        """Count a draft that was verified."""
        counts = self._counts.setdefault(draft.source, [0, 0, 0])
        counts[0] += 1
        counts[1] += len(draft.tokens)
        counts[2] += num_accepted

    def usage(self) -> tuple[DraftUsage, ...]:
        """Return the counts of each source that was used."""
        return tuple(DraftUsage(source, *counts) for source, counts in self._counts.items())
