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
        self._grants: list[Grant] = []
        self._num_open = 0
        self._has_failed = False
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
        if usage is None:
            self._has_failed = True
        else:
            self._row.add(usage, has_prompt=has_prompt)
            self._desk.finished(usage)
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

    def _settle(self) -> None:
        if self._status is None or self._num_open:
            return
        row = self._row
        row.status = FAILED if self._has_failed and self._status < 400 else self._status
        left = row.tokens_in + row.tokens_out
        for place, grant in enumerate(self._grants, 1):
            used = left if place == len(self._grants) else min(left, grant.tokens)
            self._desk.limiter.settle(grant, used)
            left -= used
        self._grants = []
        self._desk.settled(self, row)


def _most_tokens(request: Request, context_tokens: int) -> int:
    """Return how many tokens the answers to `request` may have; a guess where it does not say."""
    each = UNNAMED_TOKENS if request.max_tokens is None else request.max_tokens
    return min(each, context_tokens) * request.n * len(request.prompts)
