"""Stop strings: text that ends an answer and never leaves, not even a part of it."""


class StopStrings:
    """Releases text up to the first stop string to complete; holds back what may be the start of one.

    When two stop strings complete at the same character the longer one counts, so the result does not
    depend on how the text was cut.
    """

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = stops
        self._held = ""
        self.stopped = False

    def feed(self, text: str) -> str:
        """Take new text and return what may leave; after a match, `stopped` is set and the rest is dropped."""
        if self.stopped:
            return ""
        text = self._held + text
        match = min(self._matches(text), default=None)
        if match is not None:
            self.stopped, self._held = True, ""
            return text[: match[1]]
        num_held = self._num_held(text)
        self._held = text[len(text) - num_held :]
        return text[: len(text) - num_held]

    def finish(self) -> str:
        """Return what is still held: the answer ended and no stop string can complete any more."""
        held, self._held = self._held, ""
        return held

    def _matches(self, text: str) -> list[tuple[int, int]]:
        """Return (end, start) of the first occurrence of each stop string."""
        starts = ((text.find(stop), stop) for stop in self._stops)
        return [(start + len(stop), start) for start, stop in starts if start >= 0]

    def _num_held(self, text: str) -> int:
        """Return the length of the longest suffix of `text` that begins a stop string."""
        longest = min(len(text), max(map(len, self._stops)) - 1)
        lengths = range(longest, 0, -1)
        return next((n for n in lengths if any(stop.startswith(text[-n:]) for stop in self._stops)), 0)
