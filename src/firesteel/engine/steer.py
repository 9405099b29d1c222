"""Steering: an answer ends at a safe boundary, and a successor goes on from its tokens and the user's new words."""

from typing import TYPE_CHECKING

import msgspec

from firesteel.types import Failure, Work

if TYPE_CHECKING:
    from firesteel.engine.sequence import Sequence

STEER_SECONDS = 0.25  # a steered answer ends where a line or a statement ends, but no later than this
STEER_TOKENS = 24  # nor later than this


class Steer(msgspec.Struct):
    """A successor that waits for its predecessor's next safe boundary."""

    work: Work  # its tokens follow those of the predecessor
    asked_at: float
    deadline: float  # seconds of the engine's clock
    max_output: int  # output tokens of the predecessor at most


def begin(work: Work, now: float, num_output: int) -> Steer:
    """Return what waits for the boundary of a sequence that has said `num_output` tokens."""
    return Steer(work, now, now + STEER_SECONDS, num_output + STEER_TOKENS)


def why_not(id: str, work: Work, sequence: "Sequence | None", *, is_known: bool) -> Failure | None:
    """Return what is wrong with steering `id` to `work`; `sequence` is that one, or the one it waits for.

    `is_known`: the id of `work` is taken.
    """
    if sequence is None:
        return Failure(work.id, "not_running", f"{id!r} is not running any more; send the words as a new turn")
    if not work.tokens or work.max_tokens < 0:
        return Failure(work.id, "invalid_value", "there are no words to steer with, or max_tokens is negative")
    if is_known:
        return Failure(work.id, "invalid_value", f"id {work.id!r} is already running")
    if sequence.id == id and sequence.successor is not None:
        return Failure(work.id, "invalid_value", f"{id!r} is being steered; steer {sequence.successor.work.id!r}")
    return None
