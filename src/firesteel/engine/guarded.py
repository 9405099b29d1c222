"""Watchers with a guard behind them: what detokeniser and stop strings let pass is judged before it leaves."""

from bisect import bisect_left, bisect_right

from firesteel.engine.watch import Watchers
from firesteel.types import Tokenizer
from firesteel.verdict import Finding, Hold, Release, Rewind, Verdict, Watcher

MAX_HINTED = 128  # tokens behind a hint after which it leaves in any case


class GuardedWatchers(Watchers):
    """Turns accepted tokens into text that the guard has released. The guard is fed token by token.

    So what it decides does not depend on how many tokens a step yields.
    """

    def __init__(self, tokenizer: Tokenizer, stop: tuple[str, ...], guard: Watcher) -> None:
        self.guard = guard
        self.told: list[Finding] = []  # findings that stopped nothing, and were not passed on yet
        self._is_holding = False
        self._hinted: str | None = None  # what was released behind a hint
        self._num_hinted = 0  # tokens behind it
        super().__init__(tokenizer, stop)

    def _begin(self) -> None:
        super()._begin()
        self._ends: list[int] = []  # code points up to the end of each token
        self.verdict = None

    @property
    def is_at_boundary(self) -> bool:
        """Whether a line or a statement has just ended, and nothing is held."""
        return not self._is_holding and super().is_at_boundary

    def feed(self, tokens: list[int]) -> tuple[int, str]:
        """Take tokens up to one that ends the answer or a hint, or has text taken back; see `Watchers.feed`."""
        released, num_fed = "", 0
        if self.verdict is not None or self.stopped or self.is_hint_over:
            return num_fed, released
        for token in tokens:
            num_fed += 1
            if text := self._pass(token):
                judged = self._judged(self.guard.feed(text))
                released += judged
                if self._hinted is not None:
                    self._hinted += judged
            self._num_hinted += 1
            if self.verdict is not None or self.stopped or (self._hinted is not None and self.is_hint_over):
                break
        self.num_released += len(released)
        return num_fed, released

    def begin_hint(self) -> None:
        """Look from here on for the end of what a hint is for."""
        self._hinted, self._num_hinted = "", 0

    def end_hint(self) -> None:
        """Stop looking for it."""
        self._hinted = None

    @property
    def is_hint_over(self) -> bool:
        """Whether a line of code behind the hint has left, or it has had its time."""
        if self._hinted is None:
            return False
        lines = self._hinted.split("\n")[:-1]
        is_code = any(line.strip() and not line.lstrip().startswith(("#", "//")) for line in lines)
        return is_code or self._num_hinted >= MAX_HINTED

    def _pass(self, token: int) -> str:
        text = self._detokenize([token])
        self._ends.append(self.num_text + (not self.is_complete))
        return text if self._stops is None else self._stops.feed(text)

    def _judged(self, verdict: Verdict) -> str:
        if type(verdict) is Release:
            self._is_holding = False
            if verdict.findings:
                self.told += verdict.findings
            return verdict.text
        self._is_holding = type(verdict) is Hold
        if isinstance(verdict, Rewind):
            self.verdict = verdict
        else:
            self.told += verdict.findings
        return ""

    def finish(self) -> str:
        """Return what is still held back; where `verdict` is set afterwards, the answer has not ended."""
        held = self._stops.finish() if self._stops else ""
        released = self._judged(self.guard.feed(held)) if held else ""
        if self.verdict is None:
            released += self._judged(self.guard.finish())
        self.num_released += len(released)
        return released

    def rewind(self, tokens: list[int]) -> None:
        """Go back to where only `tokens` had been fed; what the guard released of them stays released."""
        num_released = self.num_released
        self._begin()
        num_passed = sum([len(self._pass(token)) for token in tokens])
        self.guard.rewind(num_passed)
        self.num_released = min(num_released, num_passed)

    def num_tokens_before(self, to: int) -> int:
        """Return how many tokens stay when text is taken back to code point `to`.

        A token of which a part has left for good stays whole.
        """
        num_kept = bisect_right(self._ends, to)
        if 0 < self.num_released <= to:
            return max(num_kept, bisect_left(self._ends, self.num_released) + 1)
        return num_kept
