"""How much a key may ask for in a minute: requests, and tokens read and written."""

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from firesteel.errors import RateLimited, RequestError
from firesteel.service import window
from firesteel.service.window import Amounts

REQUESTS, TOKENS = "requests", "tokens"


class Limits(msgspec.Struct, frozen=True):
    """What one key may have in a minute; None is as much as it likes."""

    requests: int | None = None
    tokens: int | None = None

    def over(self, others: "Limits") -> "Limits":
        """Return these limits, and those of `others` where there is none here."""
        requests = others.requests if self.requests is None else self.requests
        return Limits(requests, others.tokens if self.tokens is None else self.tokens)


class Want(msgspec.Struct, frozen=True):
    """`amount` more of what `name` counts, unless that makes more than `limit` in a minute."""

    name: str
    limit: int
    amount: int


class Taken(msgspec.Struct, frozen=True):
    """Whether all that was wanted was granted, when, and what counts now of each."""

    is_granted: bool
    now: float
    amounts: list[Amounts]


class Store(Protocol):
    """Keeps what was granted. `num_failures` counts how often it could not be asked."""

    num_failures: int

    async def take(self, wants: Sequence[Want]) -> Taken:
        """Grant all of `wants`, or nothing."""
        ...

    def count(self, name: str, amount: int) -> None:
        """Count `amount` more, now, whatever the limit."""
        ...

    def give_back(self, name: str, second: int, amount: int) -> None:
        """Count `amount` less of what was granted in `second`."""
        ...

    async def close(self) -> None:
        """Let go of what it holds."""
        ...


class Memory:
    """Keeps it in this process. `now` is in seconds and never goes back."""

    num_failures = 0

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._amounts: dict[str, dict[int, int]] = {}

    async def take(self, wants: Sequence[Want]) -> Taken:
        """Grant all of `wants`, or nothing."""
        now = self._now()
        second = int(now)
        found = [window.kept(self._amounts.get(want.name, {}), second) for want in wants]
        is_granted = all(sum(a.values()) + w.amount <= w.limit for w, a in zip(wants, found, strict=True))
        for want, amounts in zip(wants, found, strict=True):
            self._amounts[want.name] = amounts
            if is_granted:
                amounts[second] = amounts.get(second, 0) + want.amount
        return Taken(is_granted, now, list(found))

    def count(self, name: str, amount: int) -> None:
        """Count `amount` more, now, whatever the limit."""
        amounts, second = self._amounts.setdefault(name, {}), int(self._now())
        amounts[second] = amounts.get(second, 0) + amount

    def give_back(self, name: str, second: int, amount: int) -> None:
        """Count `amount` less of what was granted in `second`."""
        amounts = self._amounts.get(name, {})
        if second in amounts:
            amounts[second] = max(0, amounts[second] - amount)

    async def close(self) -> None:
        """Do nothing."""


class Standing(msgspec.Struct, frozen=True):
    """How a key stands with one of its limits. `reset` is the seconds until nothing of it is used."""

    kind: str
    limit: int
    remaining: int
    reset: float


class Grant(msgspec.Struct, frozen=True):
    """What a request was let in with, `tokens` set aside in `second`; or why it was not."""

    standings: tuple[Standing, ...] = ()
    refusal: RateLimited | None = None
    name: str = ""  # of the tokens' count; empty without such a limit
    second: int = 0
    tokens: int = 0


class Limiter:
    """Lets requests in as long as their key has not used up its limits."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.num_refused = 0

    async def take(self, owner: str, limits: Limits, num_tokens: int) -> Grant:
        """Take one request and set `num_tokens` aside, if both fit. Raises RequestError when they never can."""
        wants = [
            Want(f"{{{owner}}}:{kind}", limit, amount)
            for kind, limit, amount in ((REQUESTS, limits.requests, 1), (TOKENS, limits.tokens, num_tokens))
            if limit is not None
        ]
        if not wants:
            return Grant()
        if limits.tokens is not None and num_tokens > limits.tokens:
            raise _too_large(num_tokens, limits.tokens)
        taken = await self.store.take(wants)
        standings = tuple(
            _standing(want, amounts, taken.now) for want, amounts in zip(wants, taken.amounts, strict=True)
        )
        if not taken.is_granted:
            self.num_refused += 1
            return Grant(standings, _refusal(wants, taken, standings))
        name = wants[-1].name if limits.tokens is not None else ""
        return Grant(standings, None, name, int(taken.now), num_tokens)

    def settle(self, grant: Grant, num_tokens: int) -> None:
        """Give back what `grant` set aside beyond `num_tokens`, or count what was used beyond it."""
        if grant.name and num_tokens > grant.tokens:
            self.store.count(grant.name, num_tokens - grant.tokens)
        elif grant.name and num_tokens < grant.tokens:
            self.store.give_back(grant.name, grant.second, grant.tokens - num_tokens)


def _kind(want: Want) -> str:
    return want.name.rpartition(":")[2]


def _standing(want: Want, amounts: Amounts, now: float) -> Standing:
    remaining = max(0, want.limit - window.used(amounts, int(now)))
    return Standing(_kind(want), want.limit, remaining, window.reset_seconds(amounts, now))


def _refusal(wants: Sequence[Want], taken: Taken, standings: tuple[Standing, ...]) -> RateLimited:
    """Return the error that names the limit which takes longest to have room again."""
    waits = [
        window.wait_seconds(amounts, want.limit, want.amount, taken.now)
        for want, amounts in zip(wants, taken.amounts, strict=True)
    ]
    seconds = max(waits)
    want, standing = wants[waits.index(seconds)], standings[waits.index(seconds)]
    kind = _kind(want)
    return RateLimited(
        f"this key may have {want.limit} {kind} a minute, {standing.remaining} are left and {want.amount} were "
        f"asked for; try again in {seconds:.1f} s",
        type=kind,
        retry_after=seconds,
    )


def _too_large(num_tokens: int, limit: int) -> RequestError:
    return RequestError(
        f"`max_tokens`: prompt and answer may take {num_tokens} tokens, and this key may have {limit} a minute; "
        "send less, or ask for fewer tokens",
        param="max_tokens",
        code="request_above_rate_limit",
    )
