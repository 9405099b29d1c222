"""What the choices of one request cost together. Choices are numbered prompt by prompt, `n` for each."""

from collections.abc import Sequence

from msgspec import UNSET, UnsetType

from firesteel.types import DraftUsage, Finish, Request, Usage
from firesteel.wire.guard import WireGuard, guard_of
from firesteel.wire.openai_common import (
    CompletionTokensDetails,
    DraftCount,
    Firesteel,
    PromptTokensDetails,
    Speculation,
    Timings,
    WireUsage,
)
from firesteel.wire.tool_calls import Malformed, Parsed, Piece

PREDICTION = "prediction"  # the source of drafts that a client's `prediction` is

FINISH_REASONS = {
    "stop": "stop",
    "length": "length",
    "cancelled": "length",
    "steered": "stop",
    "content_filter": "content_filter",
}
"""OpenAI's words for ours.

An answer that the server cut has none, and `length` says "not complete". One that was steered ends where
its user wants: what follows is another answer.
"""


class Tally:
    """Collects the `Finish` of every choice."""

    def __init__(self, request: Request) -> None:
        self.num_choices = len(request.prompts) * request.n
        self._n = request.n
        self._noted = request.noted
        self._has_wish = request.guard is not None
        self._finished: dict[int, Finish] = {}
        self._malformed: list[str] = []

    @property
    def is_complete(self) -> bool:
        """Whether every choice has finished."""
        return len(self._finished) == self.num_choices

    def add(self, choice: int, finish: Finish) -> None:
        """Count `finish` of a choice."""
        assert 0 <= choice < self.num_choices
        assert choice not in self._finished
        self._finished[choice] = finish

    def well_formed(self, pieces: Sequence[Parsed]) -> list[Piece]:
        """Return `pieces` without the malformed calls, which `firesteel` reports instead."""
        self._malformed += [piece.text for piece in pieces if isinstance(piece, Malformed)]
        return [piece for piece in pieces if not isinstance(piece, Malformed)]

    def usage(self) -> WireUsage:
        """Return OpenAI's `usage` of all choices."""
        prompts: dict[int, int] = {}
        cached: dict[int, int] = {}
        for choice, finish in self._finished.items():
            prompt, usage = choice // self._n, finish.usage
            prompts[prompt] = usage.num_prompt_tokens
            # The first choice of a prompt computes it and the others share that, so the least is the truth.
            cached[prompt] = min(cached.get(prompt, usage.num_cached_tokens), usage.num_cached_tokens)
        num_prompt = sum(prompts.values())
        num_output = sum(usage.num_output_tokens for usage in self._usages())
        return WireUsage(
            prompt_tokens=num_prompt,
            completion_tokens=num_output,
            total_tokens=num_prompt + num_output,
            prompt_tokens_details=PromptTokensDetails(cached_tokens=sum(cached.values())),
            completion_tokens_details=_details(self._usages()),
        )

    def firesteel(self) -> Firesteel:
        """Return our own part of the response."""
        usages = self._usages()
        reasons = {finish.reason for finish in self._finished.values()}
        return Firesteel(
            noted=self._noted,
            timings=Timings(
                queue_seconds=max(usage.queue_seconds for usage in usages),
                prefill_seconds=max(usage.prefill_seconds for usage in usages),
                decode_seconds=max(usage.decode_seconds for usage in usages),
            ),
            guard=self._guard(usages),
            speculation=_speculation(usages) if any(usage.num_steps for usage in usages) else UNSET,
            malformed_calls=self._malformed or UNSET,
            cancelled="cancelled" in reasons or UNSET,
            steered="steered" in reasons or UNSET,
        )

    def _guard(self, usages: list[Usage]) -> WireGuard | UnsetType:
        reports = [usage.guard for usage in usages if usage.guard is not None]
        return guard_of(reports) if reports or self._has_wish else UNSET

    def _usages(self) -> list[Usage]:
        return [finish.usage for finish in self._finished.values()]


def _details(usages: list[Usage]) -> CompletionTokensDetails:
    drafts = [draft for usage in usages for draft in usage.drafts if draft.source == PREDICTION]
    num_accepted = sum(draft.num_accepted for draft in drafts)
    return CompletionTokensDetails(
        accepted_prediction_tokens=num_accepted,
        rejected_prediction_tokens=sum(draft.num_drafted for draft in drafts) - num_accepted,
    )


def _speculation(usages: list[Usage]) -> Speculation:
    by_source: dict[str, list[DraftUsage]] = {}
    for usage in usages:
        for draft in usage.drafts:
            by_source.setdefault(draft.source, []).append(draft)
    return Speculation(
        steps=sum(usage.num_steps for usage in usages),
        forced_tokens=sum(usage.num_forced_tokens for usage in usages),
        drafts=[_draft_count(source, drafts) for source, drafts in by_source.items()],
    )


def _draft_count(source: str, drafts: list[DraftUsage]) -> DraftCount:
    return DraftCount(
        source=source,
        steps=sum(draft.num_steps for draft in drafts),
        drafted_tokens=sum(draft.num_drafted for draft in drafts),
        accepted_tokens=sum(draft.num_accepted for draft in drafts),
    )
