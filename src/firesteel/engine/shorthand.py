"""Prompts that go on from earlier ones cross to the engine process without what was sent before.

Both sides keep the last few prompts, in the order of one channel, so they always hold the same ones.
"""

from collections import deque

import msgspec

from firesteel.types import Work

MAX_KEPT = 8  # prompts; one of 20,000 tokens takes 160 kB on each side
MIN_SHARED = 512  # tokens; fewer are cheaper to send than to look for


class Shared(msgspec.Struct, frozen=True):
    """What a prompt begins with: all of the one that was sent `age` prompts ago."""

    age: int
    num_tokens: int


class Sender:
    """The side that leaves out."""

    def __init__(self) -> None:
        self._kept: deque[list[int]] = deque(maxlen=MAX_KEPT)

    def shorten(self, work: Work) -> tuple[Work, Shared | None]:
        """Return `work` without the tokens that the other side knows, and which those are."""
        if len(work.tokens) < MIN_SHARED:
            return work, None
        shared = self._find(work.tokens)
        self._kept.appendleft(work.tokens)
        if shared is None:
            return work, None
        return msgspec.structs.replace(work, tokens=work.tokens[shared.num_tokens :]), shared

    def _find(self, tokens: list[int]) -> Shared | None:
        best: Shared | None = None
        for age, kept in enumerate(self._kept):
            num = len(kept)
            if (best is None or num > best.num_tokens) and tokens[:MIN_SHARED] == kept[:MIN_SHARED]:
                best = Shared(age, num) if tokens[:num] == kept else best
        return best


class Receiver:
    """The side that puts back."""

    def __init__(self) -> None:
        self._kept: deque[list[int]] = deque(maxlen=MAX_KEPT)

    def restore(self, work: Work, shared: Shared | None) -> Work:
        """Return the work that was shortened."""
        if shared is not None:
            work = msgspec.structs.replace(work, tokens=self._kept[shared.age] + work.tokens)
        if len(work.tokens) >= MIN_SHARED:
            self._kept.appendleft(work.tokens)
        return work
