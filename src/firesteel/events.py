"""Runs of events made shorter for whoever is slower than the engine."""

from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

from firesteel.types import Delta, Event

Key = TypeVar("Key", bound=Hashable)


def merge(deltas: Sequence[Delta]) -> Delta:
    """Return one delta that says what consecutive `deltas` of one sequence say; there is at least one."""
    if len(deltas) == 1:
        return deltas[0]
    text, num_tokens = "".join([delta.text for delta in deltas]), sum([delta.num_tokens for delta in deltas])
    return Delta(deltas[0].id, text, num_tokens, [logprob for delta in deltas for logprob in delta.logprobs])


def coalesce(events: Iterable[tuple[Key, Event]]) -> list[tuple[Key, Event]]:
    """Merge the runs of deltas of each key; every key keeps its own order.

    Whoever is slower than the engine, the socket or the client, gets fewer and longer events.
    """
    merged: list[tuple[Key, Event]] = []
    waiting: dict[Key, list[Delta]] = {}
    for key, event in events:
        if isinstance(event, Delta):
            waiting.setdefault(key, []).append(event)
            continue
        if deltas := waiting.pop(key, None):
            merged.append((key, merge(deltas)))
        merged.append((key, event))
    merged.extend((key, merge(deltas)) for key, deltas in waiting.items())
    return merged
