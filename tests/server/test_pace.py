"""The gaps between tokens: each token after the first is counted once, and no time is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from firesteel.server.pace import Gaps, Pace

TEXTS = st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 9), st.floats(0.00001, 9)))


def samples(gaps: Gaps) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(gaps)
    (family,) = text_string_to_metric_families(generate_latest(registry).decode())
    return {sample.name + sample.labels.get("le", ""): sample.value for sample in family.samples}


@given(TEXTS)
def test_every_token_after_the_first_text_is_counted_once(texts: list[tuple[str, int, float]]) -> None:
    gaps, now = Gaps(), 0.0
    pace = Pace(gaps, now)
    seen: dict[str, float] = {}
    expected_tokens, expected_seconds, firsts = 0, 0.0, []
    for id, num_tokens, wait in texts:
        now += wait
        firsts.append(pace.text(id, num_tokens, now))
        if id in seen:
            expected_tokens += num_tokens
            expected_seconds += now - seen[id]
        seen[id] = now
    found = samples(gaps)
    assert found["firesteel_itl_seconds_count"] == found["firesteel_itl_seconds_bucket+Inf"] == expected_tokens
    assert found["firesteel_itl_seconds_sum"] == pytest.approx(expected_seconds)
    assert [first is not None for first in firsts] == [True, *[False] * (len(texts) - 1)][: len(texts)]
    buckets = [value for name, value in found.items() if "_bucket" in name]
    assert buckets == sorted(buckets)


def test_a_gap_is_shared_by_the_tokens_that_came_together() -> None:
    gaps = Gaps()
    gaps.add(0.004, 4)
    found = samples(gaps)
    assert found["firesteel_itl_seconds_bucket0.0005"] == 0
    assert found["firesteel_itl_seconds_bucket0.001"] == 4
