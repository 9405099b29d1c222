"""One request as those see it who count: what it may ask for, and what became of it."""

from typing import Protocol

import msgspec

from firesteel.types import Request, Usage

Headers = list[tuple[bytes, bytes]]


class Place(msgspec.Struct, frozen=True):
    """Where a request waits: how many go before it, and about how many seconds that takes."""

    num_ahead: int
    seconds: float


class Visit(Protocol):
    """Told by the pipeline and by the call what happens to a request. All methods belong to the event loop."""

    async def enter(self, request: Request, model: str, num_prompt_tokens: int, context_tokens: int) -> None:
        """Let `request`, whose prompt has about `num_prompt_tokens`, come in; again for each that succeeds it.

        Raises Forbidden, RateLimited, or RequestError for what never fits.
        """
        ...

    def started(self) -> None:
        """Expect the end of one more sequence."""
        ...

    def spoke(self) -> None:
        """Note that there is text."""
        ...

    def ended(self, usage: Usage | None, *, has_prompt: bool = True) -> None:
        """Take what one sequence cost, None where it failed; `has_prompt`: its prompt was not counted yet."""
        ...

    def headers(self) -> Headers:
        """Return what the response says about the limits."""
        ...

    def close(self, status: int) -> None:
        """Say how the request was answered, as an HTTP status; sequences may still have to end."""
        ...


class Uncounted:
    """The visit of a request that nobody counts."""

    async def enter(self, request: Request, model: str, num_prompt_tokens: int, context_tokens: int) -> None:
        """Let it in."""

    def started(self) -> None:
        """Do nothing."""

    def spoke(self) -> None:
        """Do nothing."""

    def ended(self, usage: Usage | None, *, has_prompt: bool = True) -> None:
        """Do nothing."""

    def headers(self) -> Headers:
        """Return nothing."""
        return []

    def close(self, status: int) -> None:
        """Do nothing."""


UNCOUNTED = Uncounted()
