"""The last lines of a text, so that a window of it can be had without keeping all of it."""

from collections import deque

MAX_KEPT = 24_000  # code points: two windows


class Lines:
    """Whole lines, oldest first; those beyond `MAX_KEPT` code points are forgotten."""

    def __init__(self) -> None:
        self._lines: deque[tuple[int, str]] = deque()
        self._kept = 0

    def add(self, start: int, text: str) -> None:
        """Take the line that begins at code point `start`."""
        self._lines.append((start, text))
        self._kept += len(text)
        while self._kept > MAX_KEPT and len(self._lines) > 1:
            self._kept -= len(self._lines.popleft()[1])

    def since(self, start: int) -> tuple[int, str]:
        """Return where the kept text begins, at or behind `start`, and that text."""
        found = []
        begin = start
        for begins, text in reversed(self._lines):
            if begins < start:
                break
            found.append(text)
            begin = begins
        return begin, "".join(reversed(found))

    def around(self, place: int) -> str:
        """Return the line that holds code point `place`, and the one before it."""
        before = ""
        for begins, text in self._lines:
            if begins <= place < begins + len(text):
                return before + text
            before = text
        return before
