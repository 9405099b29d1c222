"""Drafters for tests: one that knows what will be said, and lies about it as often as it is told to."""

import random

from firesteel.engine.draft.base import Draft, Drafter, Evidence
from firesteel.engine.draft.calibration import Calibration
from firesteel.engine.draft.drafts import Drafts
from firesteel.engine.draft.evidence import believed
from firesteel.types import Work
from tests.engine.helpers import Bench


class Liar:
    """Proposes what `truth` says at this place, but each token is another one with chance `lies`."""

    source = "suffix"

    def __init__(self, truth: list[int], lies: float, seed: int = 0, vocabulary: int = 256) -> None:
        self._truth, self._lies = truth, lies
        self._chooser = random.Random(seed)
        self._vocabulary = vocabulary
        self._num_output = 0

    def propose(self, max_tokens: int) -> Draft | None:
        length = self._chooser.randint(1, max_tokens)
        told = self._truth[self._num_output : self._num_output + length]
        told += [self._chooser.randrange(self._vocabulary) for _ in range(length - len(told))]
        tokens = [self._lie() if self._chooser.random() < self._lies else token for token in told]
        evidence: list[Evidence] = [(64, 4)] * length
        return Draft(self.source, tokens, evidence)

    def _lie(self) -> int:
        return self._chooser.randrange(self._vocabulary)

    def accept(self, tokens: list[int]) -> None:
        self._num_output += len(tokens)

    def rewind(self, output: list[int]) -> None:
        self._num_output = len(output)


def install(bench: Bench, *drafters: Drafter) -> None:
    """Let the sequences that begin now be drafted for by `drafters`."""

    def drafts(work: Work) -> Drafts:
        return Drafts(drafters, (Calibration(believed), bench.engine.drafting.calibration))

    bench.engine.drafting.drafts = drafts  # type: ignore[method-assign]
