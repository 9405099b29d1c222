"""One request as logs and traces tell it. What happens while it is answered finds its record in a context variable."""

import time
from contextvars import ContextVar

from firesteel.types import Usage


class Record:
    """Filled while the request is answered. No text of it, no key."""

    def __init__(self, id: str, method: str, path: str, connection: str | None = None) -> None:
        self.id = id
        self.connection = connection  # the id of the WebSocket that it came over
        self.method = method
        self.path = path  # as it was asked for, without the query
        self.route = ""  # with names in place of ids; empty where there is no such path
        self.started_at = time.time()
        self.status = 0  # that the client was sent
        self.outcome: int | None = None  # how it ended where that is known better, as in the ledger
        self.first_text_seconds: float | None = None
        self.usages: list[tuple[float, Usage]] = []  # of each sequence that ended, and when

    def finished(self, usage: Usage) -> None:
        """Note what a sequence cost."""
        self.usages.append((time.time(), usage))

    def fields(self) -> dict[str, object]:
        """Return what a log says of the request, in seconds and tokens."""
        usages = [usage for _, usage in self.usages]
        told: dict[str, object] = {
            "method": self.method,
            "path": self.path,
            "status": self.status if self.outcome is None else self.outcome,
            "seconds": round(time.time() - self.started_at, 6),
        }
        if self.connection is not None:
            told["connection_id"] = self.connection
        if self.first_text_seconds is not None:
            told["ttft_seconds"] = round(self.first_text_seconds, 6)
        if usages:
            told["prompt_tokens"] = sum(usage.num_prompt_tokens for usage in usages)
            told["cached_tokens"] = sum(usage.num_cached_tokens for usage in usages)
            told["output_tokens"] = sum(usage.num_output_tokens for usage in usages)
            told["accepted_tokens"] = sum(draft.num_accepted for usage in usages for draft in usage.drafts)
            told["queue_seconds"] = round(max(usage.queue_seconds for usage in usages), 6)
        return told


current: ContextVar[Record | None] = ContextVar("record", default=None)


def note_finished(usage: Usage) -> None:
    """Note what a sequence of the request that is answered here cost."""
    if (record := current.get()) is not None:
        record.finished(usage)
