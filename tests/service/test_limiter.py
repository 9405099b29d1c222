"""Limits: no minute ever holds more than was agreed, and what is left is told truly."""

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firesteel.clock import ManualClock
from firesteel.errors import RequestError
from firesteel.service import window
from firesteel.service.headers import duration, limit_headers
from firesteel.service.limiter import Limiter, Limits, Memory, Standing

STEPS = st.lists(
    st.tuples(st.floats(0, 40), st.integers(0, 60), st.integers(0, 90), st.sampled_from("ab")), max_size=60
)


@settings(deadline=None)
@given(STEPS, st.integers(1, 20), st.integers(60, 200))
async def test_no_minute_holds_more_than_the_limit(
    steps: list[tuple[float, int, int, str]], requests: int, tokens: int
) -> None:
    """Whatever is given back meanwhile, and however requests fall; what answers use beyond is paid first."""
    clock = ManualClock()
    limiter = Limiter(Memory(clock.now))
    granted: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for seconds, wanted, used, owner in steps:
        clock.sleep(seconds)
        grant = await limiter.take(owner, Limits(requests, tokens), wanted)
        if grant.refusal is None:
            granted[owner].append((clock.now(), min(wanted, used)))
            limiter.settle(grant, min(wanted, used))
    for taken in granted.values():
        for start, _ in taken:
            minute = [amount for at, amount in taken if start <= at < start + 60]
            assert len(minute) <= requests
            assert sum(minute) <= tokens


@settings(deadline=None)
@given(STEPS, st.integers(1, 5))
async def test_who_waits_as_long_as_told_is_let_in_and_not_much_earlier(
    steps: list[tuple[float, int, int, str]], requests: int
) -> None:
    clock = ManualClock()
    limiter = Limiter(Memory(clock.now))
    limits = Limits(requests, 100)
    for seconds, wanted, _, _ in steps:
        clock.sleep(seconds)
        grant = await limiter.take("a", limits, wanted)
        if grant.refusal is not None:
            assert 0 < grant.refusal.retry_after <= window.MINUTE + 1
            clock.sleep(max(0.0, grant.refusal.retry_after - 1.001))
            if grant.refusal.retry_after > 1.001:
                assert (await limiter.take("a", limits, wanted)).refusal is not None
            clock.sleep(min(1.001, grant.refusal.retry_after) + 0.001)
            assert (await limiter.take("a", limits, wanted)).refusal is None


async def test_what_was_used_beyond_is_paid_before_the_next() -> None:
    clock = ManualClock()
    limiter = Limiter(Memory(clock.now))
    first = await limiter.take("a", Limits(None, 100), 10)
    limiter.settle(first, 95)
    refused = await limiter.take("a", Limits(None, 100), 10)
    assert refused.refusal is not None
    assert (refused.refusal.type, refused.refusal.status) == ("tokens", 429)
    assert "5 are left" in refused.refusal.message
    assert (await limiter.take("b", Limits(None, 100), 10)).refusal is None
    assert limiter.num_refused == 1


async def test_a_refused_request_uses_nothing_up() -> None:
    limiter = Limiter(Memory(ManualClock().now))
    limits = Limits(1, 100)
    assert (await limiter.take("a", limits, 1)).refusal is None
    for _ in range(3):
        refused = await limiter.take("a", limits, 60)
        assert refused.refusal is not None
        assert refused.refusal.type == "requests"
        assert [standing.remaining for standing in refused.standings] == [0, 99]


async def test_what_can_never_fit_says_so_at_once() -> None:
    limiter = Limiter(Memory(ManualClock().now))
    with pytest.raises(RequestError, match="ask for fewer tokens") as caught:
        await limiter.take("a", Limits(1, 100), 101)
    assert caught.value.status == 400
    assert (await limiter.take("a", Limits(1, 100), 100)).refusal is None


async def test_no_limit_no_headers() -> None:
    grant = await Limiter(Memory(ManualClock().now)).take("a", Limits(), 10**9)
    assert limit_headers(grant.standings, "chat") == []


def test_headers_in_each_api_s_words() -> None:
    standings = (Standing("requests", 10, 7, 59.9), Standing("tokens", 100, 0, 0.25))
    openai = dict(limit_headers(standings, "responses"))
    assert openai[b"x-ratelimit-limit-requests"] == b"10"
    assert openai[b"x-ratelimit-remaining-tokens"] == b"0"
    assert openai[b"x-ratelimit-reset-tokens"] == b"250ms"
    anthropic = dict(limit_headers(standings, "messages"))
    assert anthropic[b"anthropic-ratelimit-requests-remaining"] == b"7"
    assert anthropic[b"anthropic-ratelimit-tokens-reset"].endswith(b"Z")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0ms"), (0.0214, "21ms"), (1, "1s"), (59.5, "59.5s"), (60, "1m0s"), (61.5, "1m1.5s")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_key_s_own_limit_counts_before_the_server_s() -> None:
    assert Limits(1, None).over(Limits(5, 6)) == Limits(1, 6)
