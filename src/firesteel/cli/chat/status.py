"""The line at the bottom: model, context, speed, what waits, which keys."""

import msgspec

from firesteel.cli.local import tokens_per_second
from firesteel.session.updates import PromptProgress, QueueChanged, TextAdded
from firesteel.types import Usage

MIN_SECONDS = 0.2  # of an answer before a speed is shown
IDLE_KEYS = "Enter send · Alt-Enter newline · /help · Ctrl-D leave"
RUNNING_KEYS = "Enter steer · Tab queue · Esc interrupt"


class Status(msgspec.Struct):
    """What the toolbar shows; whoever learns something writes it here."""

    model: str
    context_tokens: int = 0  # 0: not known yet
    num_tokens: int = 0
    num_cached: int | None = None  # of the latest prompt
    speed: float = 0.0  # tokens a second
    waiting: QueueChanged = QueueChanged(steering=(), queued=())
    doing: str = ""  # what a long wait is for, with its progress
    is_running: bool = False
    hint: str = ""
    _first_at: float | None = None
    _num_streamed: int = 0

    def begin(self) -> None:
        """A turn begins."""
        self.is_running, self.doing, self.hint = True, "reading", ""
        self._first_at, self._num_streamed = None, 0

    def progress(self, update: PromptProgress) -> None:
        """The prompt is being computed."""
        share = 100 * update.num_computed // max(1, update.num_prompt)
        self.doing = f"reading {share} % of {update.num_prompt:,} tokens" if update.num_computed else "waiting"

    def streamed(self, update: TextAdded, now: float) -> None:
        """Text came; `now` in seconds."""
        self.doing = ""
        if self._first_at is None:
            self._first_at = now
            return
        self._num_streamed += update.num_tokens
        if now - self._first_at >= MIN_SECONDS:
            self.speed = self._num_streamed / (now - self._first_at)

    def end(self, usage: Usage | None) -> None:
        """The turn is over."""
        self.is_running, self.doing = False, ""
        if usage is not None:
            self.num_cached = usage.num_cached_tokens
            self.speed = tokens_per_second(usage) or self.speed

    def text(self, width: int) -> str:
        """Return the line, the keys last: they are what a narrow terminal loses."""
        parts = [self.model]
        if self.context_tokens:
            share = 100 * self.num_tokens // self.context_tokens
            parts.append(f"{self.num_tokens:,}/{self.context_tokens:,} ({share} %)")
        if self.speed:
            parts.append(f"{self.speed:.0f} tok/s")
        if self.num_cached is not None:
            parts.append(f"{self.num_cached:,} cached")
        if self.waiting.steering:
            parts.append(f"{len(self.waiting.steering)} steering")
        if self.waiting.queued:
            parts.append(f"{len(self.waiting.queued)} queued")
        parts += [part for part in (self.doing, self.hint or (RUNNING_KEYS if self.is_running else IDLE_KEYS)) if part]
        return f" {' │ '.join(parts)} "[:width].ljust(width)
