"""Limits in a real Redis: two gateways hold one together, and each alone while Redis is away."""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from firesteel.errors import ConfigError
from firesteel.service.limiter import Limiter, Limits
from firesteel.service.shared import Shared, open_shared
from tests.server.live import Live, chat_body, environment, firesteel, serving, wait_for
from tests.service.real_servers import RealServer, redis_server


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


def url_of(server: RealServer) -> str:
    return f"redis://127.0.0.1:{server.port}/0"


@pytest.fixture
async def stores(redis: RealServer) -> AsyncIterator[tuple[Shared, Shared]]:
    both = open_shared(url_of(redis)), open_shared(url_of(redis))
    yield both
    for store in both:
        await store.close()


async def settled(store: Shared) -> None:
    while store._tasks:
        await asyncio.sleep(0.005)


async def test_two_gateways_hold_one_limit_together(stores: tuple[Shared, Shared]) -> None:
    first, second = map(Limiter, stores)
    grants = await asyncio.gather(*(limiter.take("a", Limits(10, None), 0) for limiter in (first, second) * 15))
    assert sum(grant.refusal is None for grant in grants) == 10
    refusal = next(grant.refusal for grant in grants if grant.refusal is not None)
    assert 0 < refusal.retry_after <= 61
    assert (await first.take("b", Limits(10, None), 0)).refusal is None


async def test_what_one_gives_back_the_other_may_take(stores: tuple[Shared, Shared]) -> None:
    first, second = map(Limiter, stores)
    grant = await first.take("back", Limits(None, 100), 90)
    assert (await second.take("back", Limits(None, 100), 50)).refusal is not None
    first.settle(grant, 10)
    await settled(stores[0])
    assert (await second.take("back", Limits(None, 100), 50)).standings[0].remaining == 40
    over = await second.take("back", Limits(None, 100), 10)
    second.settle(over, 80)
    await settled(stores[1])
    assert (await first.take("back", Limits(None, 100), 1)).refusal is not None


async def test_nothing_is_given_back_twice_or_below_nothing(stores: tuple[Shared, Shared]) -> None:
    limiter = Limiter(stores[0])
    grant = await limiter.take("twice", Limits(None, 100), 50)
    for _ in range(3):
        limiter.settle(grant, 0)
    await settled(stores[0])
    assert (await limiter.take("twice", Limits(None, 100), 100)).refusal is None
    assert (await limiter.take("twice", Limits(None, 100), 1)).refusal is not None


async def test_redis_away_and_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with redis_server(tmp_path) as server:
        store = open_shared(url_of(server))
        limiter = Limiter(store)
        limits = Limits(5, None)
        assert (await limiter.take("a", limits, 0)).refusal is None
        server.kill()
        began = time.monotonic()
        alone = [await limiter.take("a", limits, 0) for _ in range(8)]
        assert sum(grant.refusal is None for grant in alone) == 5  # the whole limit, held alone
        assert time.monotonic() - began < 5
        assert store.num_failures >= 1
        assert "holds limits alone" in caplog.text
        server.start()
        await asyncio.sleep(1.1)
        assert (await limiter.take("a", limits, 0)).refusal is None
        assert "answers again" in caplog.text
        await store.close()


async def test_a_redis_that_hangs_keeps_nobody_waiting(redis: RealServer, stores: tuple[Shared, Shared]) -> None:
    limiter = Limiter(stores[0])
    assert (await limiter.take("hang", Limits(2, None), 0)).refusal is None
    redis.pause()
    try:
        async with asyncio.timeout(2):
            alone = [await limiter.take("hang", Limits(2, None), 0) for _ in range(3)]
    finally:
        redis.go_on()
    assert [grant.refusal is None for grant in alone] == [True, True, False]


@pytest.mark.parametrize(
    "address",
    [
        "http://:s3cret@127.0.0.1",
        "redis://:s3cret@127.0.0.1/0?foo=bar",
        "redis://:s3cret@127.0.0.1/0?protocol=s3cret",
        "rediss://:s3cret@127.0.0.1/0?ssl_cert_reqs=s3cret",
    ],
)
def test_an_address_that_is_none_is_refused_without_being_shown(address: str) -> None:
    with pytest.raises(ConfigError, match="redis://") as caught:
        open_shared(address)
    assert "s3cret" not in str(caught.value)


def status(live: Live, key: str) -> int:
    body = chat_body("hello", max_tokens=1)
    return live.http.post("/v1/chat/completions", json=body, headers={"x-api-key": key}).status_code


def test_two_servers_on_one_redis(tmp_path: Path) -> None:
    keys = ("--keys", str(tmp_path / "keys.json"))
    create = firesteel("keys", "create", "anna", "--requests-per-minute", "6", *keys)
    key = subprocess.run(create, check=True, capture_output=True, text=True, env=environment({})).stdout.strip()
    (tmp_path / "redis").mkdir()
    with redis_server(tmp_path / "redis") as redis:
        shared = ("--limit-store", url_of(redis))
        with serving(*keys, *shared) as first, serving(*keys, *shared) as second:
            answers = [status(live, key) for live in (first, second) * 6]
            assert answers == [200] * 6 + [429] * 6
            redis.kill()
            assert wait_for(lambda: status(first, key) == 200, "the first server goes on alone")
            assert "holds limits alone" in first.log.read_text()
