"""The protocol that every drafter speaks. A drafter guesses; the step that verifies its guess decides."""

from typing import Protocol

import msgspec

Evidence = int | tuple[int, ...]  # why a token is proposed, coarse: what its chance is looked up by
Distribution = dict[int, float]  # token → probability; what is not in it has none


class Draft(msgspec.Struct):
    """Tokens that may come next, from one source.

    `evidence[i]` says why `tokens[i]` is proposed, given that all before it are right. The arbiter learns how
    often each kind of evidence of each source is right (`engine.draft.calibration`).
    `distributions[i]`: what `tokens[i]` was drawn from, where it was drawn at random; else empty.
    """

    source: str
    tokens: list[int]
    evidence: list[Evidence]
    distributions: list[Distribution] = []


class Drafter(Protocol):
    """Proposes the continuation of one sequence. Made when the sequence begins; owned by the engine's thread.

    Costs microseconds a call, as it is asked at every step, whether or not its draft is then used.
    """

    source: str

    def propose(self, max_tokens: int) -> Draft | None:
        """Return at most `max_tokens` tokens that may come next; None when nothing is likely. Changes nothing."""
        ...

    def accept(self, tokens: list[int]) -> None:
        """Take in tokens that the output gained, drafted here or not."""
        ...

    def rewind(self, output: list[int]) -> None:
        """Go back to where the output was `output`."""
        ...


def num_common(one: list[int], other: list[int]) -> int:
    """Return how many tokens both begin with; compares slices, so 16k tokens take 0.1 ms."""
    low, high = 0, min(len(one), len(other))
    if one[:high] == other[:high]:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low
