"""The visit of a request whose limits and costs are counted."""

import time
import uuid
from typing import TYPE_CHECKING

from firesteel.service.headers import limit_headers
from firesteel.service.keyring import Caller
from firesteel.service.ledger_row import Row
from firesteel.service.limiter import Grant, Limits, Standing
from firesteel.types import Request, Usage
from firesteel.visit import Headers

if TYPE_CHECKING:
    from firesteel.service.desk import Desk

UNNAMED_TOKENS = 1024  # set aside for an answer whose request names no `max_tokens`
FAILED = 500


class Metered:
    """One request from its key to its row in the ledger, which is written when all of it has ended."""

    def __init__(self, desk: "Desk", caller: Caller, kind: str, request_id: str) -> None:
        self._desk = desk
        self._caller = caller
        self._kind = kind
        self._began = time.perf_counter()
        self._row = Row(id=uuid.uuid4().hex, request=request_id, at=time.time(), key=caller.key, endpoint=kind)
        self._standings: tuple[Standing, ...] = ()
        self._grants: list[Grant] = []  # of what is not settled: the request, then what is to succeed it
        self._num_settled = 0  # tokens
        self._num_open = 0
        self._status: int | None = None

    async def enter(self, request: Request, model: str, num_prompt_tokens: int, context_tokens: int) -> None:
        """Let `request` in, if its key may use the model and has room in its limits."""
        self._row.model = model
        self._caller.check_model(model)
        limits = Limits(self._caller.requests_per_minute, self._caller.tokens_per_minute).over(self._desk.limits)
        num_tokens = num_prompt_tokens + _most_tokens(request, context_tokens)
        grant = await self._desk.limiter.take(self._caller.key or "anyone", limits, num_tokens)
        self._standings = grant.standings
        if grant.refusal is not None:
            raise grant.refusal
        self._grants.append(grant)
        if self._is_over:  # meanwhile
            self._settle_grant()

    def headers(self) -> Headers:
        """Return how the key stands with its limits, as headers of the response."""
        return limit_headers(self._standings, self._kind) if self._standings else []

    def started(self) -> None:
        """Expect the end of one more sequence."""
        self._num_open += 1

    def spoke(self) -> None:
        """Note when there is text."""
        if self._row.ttft_seconds is None:
            self._row.ttft_seconds = time.perf_counter() - self._began

    def ended(self, usage: Usage | None, *, has_prompt: bool = True) -> None:
        """Add what one sequence cost; with the last one, the request is settled."""
        self._num_open -= 1
        if usage is not None:
            self._row.add(usage, has_prompt=has_prompt)
            self._desk.finished(usage)
            if len(self._grants) > 1:  # what succeeds it has its own
                self._settle_grant()
        self._settle()

    def close(self, status: int) -> None:
        """Say how the request was answered. What its sequences still cost is waited for."""
        if self._status is None:
            self._status = status
            self._row.seconds = time.perf_counter() - self._began
            self._settle()

    def abandon(self) -> None:
        """Settle now: no end of a sequence will come any more."""
        self._num_open = 0
        if self._status is None:
            self.close(FAILED)
        else:
            self._settle()

    @property
    def _is_over(self) -> bool:
        return self._status is not None and not self._num_open

    def _settle(self) -> None:
        if self._status is None or not self._is_over:
            return
        while self._grants:
            self._settle_grant()
        self._row.status = self._status
        self._desk.settled(self, self._row)

    def _settle_grant(self) -> None:
        """Settle the oldest grant with what was used since the one before it."""
        used = self._row.tokens_in + self._row.tokens_out - self._num_settled
        self._num_settled += used
        self._desk.limiter.settle(self._grants.pop(0), used)


def _most_tokens(request: Request, context_tokens: int) -> int:
    """Return how many tokens the answers to `request` may have; a guess where it does not say."""
    each = UNNAMED_TOKENS if request.max_tokens is None else request.max_tokens
    return min(each, context_tokens) * request.n * len(request.prompts)
