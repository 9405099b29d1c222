"""A sequence whose answer is watched: text is taken back and written differently, perhaps behind a hidden hint.

A hint is a run of tokens in the context that belongs to no answer: neither text nor usage nor history knows of it. It
leaves the context as soon as what it is for has been written.
"""

from typing import Any

from firesteel.engine.guarded import GuardedWatchers
from firesteel.engine.sequence import Sequence
from firesteel.errors import GuardFailure
from firesteel.types import Delta, FinishReason, Tokenizer, Usage, Work
from firesteel.verdict import Finding, GuardReport, Rewind, Watcher


class GuardedSequence(Sequence):
    """A `Sequence` with a guard; arguments as there."""

    def __init__(
        self, work: Work, arrival: int, tokenizer: Tokenizer, now: float, *, guard: Watcher, **others: Any
    ) -> None:
        super().__init__(work, arrival, tokenizer, now, **others)
        self.guard = guard
        self._watchers: GuardedWatchers = GuardedWatchers(tokenizer, work.stop, guard)
        self._hidden = range(0)  # places of the hint in `tokens`
        self._taken: int | None = None  # the first token of what was taken back last
        self._num_retry = 0  # tokens that were taken back, or read as hints

    @property
    def num_output(self) -> int:
        """Tokens chosen so far, neither an end token nor a hint counted."""
        return len(self.tokens) - self.num_prompt - len(self._hidden)

    @property
    def num_released(self) -> int:
        """Code points of the answer that have left, and were not taken back."""
        return self._watchers.num_released

    @property
    def verdict(self) -> Rewind | None:
        """What the guard wants to have taken back."""
        return self._watchers.verdict

    @property
    def is_quiet(self) -> bool:
        """Whether the guard has nothing to say, and no hint stands in the context."""
        watchers = self._watchers
        return watchers.verdict is None and not watchers.told and not self._hidden

    def take_told(self) -> list[Finding]:
        """Return the findings that nobody was told of yet."""
        told, self._watchers.told = self._watchers.told, []
        return told

    def _feed(self, tokens: list[int]) -> str:
        """Take tokens; what follows one at which text is taken back, or a hint ends, is to be chosen anew."""
        text = super()._feed(tokens)
        is_cut = self._watchers.is_hint_over and self.num_remaining > 0 and not self._watchers.stopped
        if self.verdict is not None or is_cut:
            self.reason = None
        return text

    def _release(self, text: str) -> Delta | None:
        """Return what leaves; an answer of which text is taken back has not ended."""
        num_reported = self._num_reported
        delta = super()._release(text)
        if delta is not None and not delta.text and self.verdict is not None:
            self._num_reported = num_reported
            return None  # it has not ended after all
        if self.verdict is not None:
            self.reason = None
        return delta

    def end(self, reason: FinishReason) -> Delta | None:
        """End the sequence from outside; of what was held, what the guard takes back does not leave."""
        self.reveal()
        try:
            delta = super().end(reason)
            while self.verdict is not None and self.verdict.to >= self.num_released:
                self._watchers.told += self.verdict.findings
                self.take_back(self.verdict)
                delta = merged(delta, super().end(reason))
            self._watchers.told += self.verdict.findings if self.verdict is not None else ()
        except GuardFailure:  # it was asked for by the policy: what is held stays here
            delta = None
        self.reason = reason
        return delta

    def take_back(self, verdict: Rewind) -> None:
        """Go back to where `verdict` says."""
        self.reveal()
        to_token = self._watchers.num_tokens_before(verdict.to)
        place = self.num_prompt + to_token
        self._taken = self.tokens[place] if place < len(self.tokens) else None
        self._num_retry += self.num_output - to_token
        self.rewind(to_token, ())

    def ban_next(self) -> None:
        """Let the next token be another one than the first of those that were taken back last."""
        if self._taken is not None:
            self.verifier.forbid(len(self.tokens), (self._taken,))

    def hide(self, tokens: list[int], before: int) -> None:
        """Put a hint into the context, before code point `before` of the answer; what follows is computed again."""
        place = self.num_prompt + self._watchers.num_tokens_before(before)
        self._hidden = range(place, place + len(tokens))
        self._watchers.begin_hint()
        self._num_retry += len(tokens)
        self.tokens[place:place] = tokens
        self.num_computed = min(self.num_computed, place)
        self.drafts.rewind(self.tokens[self.num_prompt :])

    @property
    def is_hinted(self) -> bool:
        """Whether a hint stands in the context."""
        return bool(self._hidden)

    @property
    def is_hint_over(self) -> bool:
        """Whether the hint in the context has served."""
        return self._watchers.is_hint_over

    def reveal(self) -> bool:
        """Remove the hint from the context; what stands behind it is computed again. False when there is none."""
        hidden, self._hidden = self._hidden, range(0)
        self._watchers.end_hint()
        if not hidden:
            return False
        del self.tokens[hidden.start : hidden.stop]
        self.num_computed = min(self.num_computed, hidden.start)
        self.verifier.forbid(hidden.start, ())  # bans behind it stand elsewhere now
        self.drafts.rewind(self.tokens[self.num_prompt :])
        return True

    def close(self) -> None:
        """Give the guard back."""
        self.guard.close()

    def usage(self, guard: GuardReport | None = None) -> Usage:
        """Return what the sequence cost so far, and what the guard did; times in seconds."""
        return super().usage(guard or self.guard.report(self._num_retry))


def merged(first: Delta | None, second: Delta | None) -> Delta | None:
    """Return what both say, in this order."""
    if first is None or second is None:
        return second if first is None else first
    return Delta(
        first.id, first.text + second.text, first.num_tokens + second.num_tokens, first.logprobs + second.logprobs
    )
