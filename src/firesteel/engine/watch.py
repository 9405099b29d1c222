"""What watches the tokens of one sequence on their way out: detokeniser and stop strings, in this order.

What all of them release goes out. They rewind together, by replaying the tokens that stay: about 1 µs each.
`engine.guarded` adds a guard.
"""

from firesteel.engine.detokenize import Detokenizer
from firesteel.engine.stop import StopStrings
from firesteel.types import Tokenizer
from firesteel.verdict import Rewind

STATEMENT_ENDS = ("\n", ";", "}")


class Watchers:
    """Turns accepted tokens into released text."""

    verdict: Rewind | None = None  # what a guard wants to have taken back

    def __init__(self, tokenizer: Tokenizer, stop: tuple[str, ...]) -> None:
        self._tokenizer = tokenizer
        self._stop = stop
        self._begin()

    def _begin(self) -> None:
        self._detokenizer = Detokenizer(self._tokenizer.piece)
        self._stops = StopStrings(self._stop) if self._stop else None
        self._last_text = ""
        self.num_text = 0  # code points fed to the stop strings
        self.num_released = 0

    @property
    def stopped(self) -> bool:
        """Whether a stop string has ended the answer."""
        return self._stops is not None and self._stops.stopped

    @property
    def is_at_boundary(self) -> bool:
        """Whether a line or a statement has just ended."""
        return self.is_complete and self._last_text.rstrip(" \t").endswith(STATEMENT_ENDS)

    @property
    def is_complete(self) -> bool:
        """Whether no character is in pieces."""
        return self._detokenizer.is_complete

    def feed(self, tokens: list[int]) -> tuple[int, str]:
        """Take tokens; return how many of them count, and the text that leaves.

        Tokens after the one that completes a stop string do not count.
        """
        if self._stops is None:
            text = self._detokenize(tokens)
            self.num_released += len(text)
            return len(tokens), text
        released, num_fed = "", 0
        while num_fed < len(tokens) and not self._stops.stopped:
            released += self._stops.feed(self._detokenize([tokens[num_fed]]))
            num_fed += 1
        self.num_released += len(released)
        return num_fed, released

    def _detokenize(self, tokens: list[int]) -> str:
        text = self._detokenizer.feed(tokens)
        self.num_text += len(text)
        if text:
            self._last_text = text
        return text

    def finish(self) -> str:
        """Return what is still held back, now that the answer has ended."""
        held = self._stops.finish() if self._stops else ""
        self.num_released += len(held)
        return held

    def rewind(self, tokens: list[int]) -> None:
        """Go back to where only `tokens` had been fed."""
        self._begin()
        self.feed(tokens)
