"""When an answer has taken long enough (llama.cpp's `t_max_predict_ms`)."""

from firesteel.types import Delta


class TimeLimit:
    """Counts each sequence's time from its first text on. An answer may always finish its first line."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._started: dict[str, float] = {}
        self._has_line: set[str] = set()

    def is_over(self, delta: Delta, now: float) -> bool:
        """Take released text at `now`, in seconds; return whether its sequence should end."""
        started = self._started.setdefault(delta.id, now)
        if "\n" in delta.text:
            self._has_line.add(delta.id)
        return delta.id in self._has_line and now - started >= self._seconds
