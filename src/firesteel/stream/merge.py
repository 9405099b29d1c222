"""Coalescing: a client that reads slowly gets fewer, longer events."""

from collections.abc import Sequence

from firesteel.types import Delta


def merge(deltas: Sequence[Delta]) -> Delta:
    """Return one delta that says what consecutive `deltas` of one sequence say; there is at least one."""
    first = deltas[0]
    if len(deltas) == 1:
        return first
    assert all(delta.id == first.id for delta in deltas)
    return Delta(
        first.id,
        "".join([delta.text for delta in deltas]),
        sum([delta.num_tokens for delta in deltas]),
        [logprob for delta in deltas for logprob in delta.logprobs],
    )
