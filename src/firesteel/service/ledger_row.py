"""What is kept of one request: who, what for, how much and how long; never what was said."""

import time

import msgspec

from firesteel.types import Usage

MILLION = 1_000_000


class Prices(msgspec.Struct, frozen=True):
    """Dollars for a million tokens; `cached` is for the part of a prompt that was warm, None = as the rest."""

    input: float = 5.0
    output: float = 15.0
    cached: float | None = None

    def of(self, num_input: int, num_cached: int, num_output: int) -> float:
        """Return what so many tokens cost, in dollars; the cached ones are a part of the input."""
        cached = self.input if self.cached is None else self.cached
        fresh = num_input - num_cached
        return (fresh * self.input + num_cached * cached + num_output * self.output) / MILLION


class Row(msgspec.Struct, kw_only=True):
    """One request. Its fields are the columns of the ledger; docs/reference/ledger.md describes them."""

    id: str
    request: str
    at: float
    key: str
    endpoint: str
    day: str = ""
    model: str = ""
    status: int = 0
    tokens_in: int = 0
    tokens_cached: int = 0
    tokens_out: int = 0
    tokens_drafted: int = 0
    tokens_accepted: int = 0
    guard_events: int = 0
    queue_seconds: float = 0.0
    ttft_seconds: float | None = None
    seconds: float = 0.0
    cost: float = 0.0

    def add(self, usage: Usage, *, has_prompt: bool) -> None:
        """Add what one sequence cost."""
        if has_prompt:
            self.tokens_in += usage.num_prompt_tokens
            self.tokens_cached += usage.num_cached_tokens
        self.tokens_out += usage.num_output_tokens
        self.tokens_drafted += sum(draft.num_drafted for draft in usage.drafts)
        self.tokens_accepted += sum(draft.num_accepted for draft in usage.drafts)
        if usage.guard is not None:
            self.guard_events += len(usage.guard.findings) + usage.guard.num_rewinds
        self.queue_seconds = max(self.queue_seconds, usage.queue_seconds)

    def priced(self, prices: Prices) -> None:
        """Put in what it costs, and the day (UTC) that it counts for."""
        self.cost = prices.of(self.tokens_in, self.tokens_cached, self.tokens_out)
        self.day = time.strftime("%Y-%m-%d", time.gmtime(self.at))
