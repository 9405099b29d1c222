"""Answers as the benchmarks' client sees them, for tests of arithmetic."""

from typing import Any

from firesteel.bench.client import Answer


def answer(**changes: Any) -> Answer:
    """Return an answer of 8 tokens to a prompt of 100, with `changes`."""
    values: dict[str, Any] = {
        "first": 0.5, "last": 1.5, "end": 1.6, "longest_gap": 0.1, "num_events": 8, "num_tokens": 8,
        "num_prompt_tokens": 100, "num_cached_tokens": 0, "text": "x", "final": {},
    }  # fmt: skip
    return Answer(**(values | changes))
