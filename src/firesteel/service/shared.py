"""Limits that several gateways hold together, in Redis; each holds them alone while Redis does not answer.

The decision is one script that runs in Redis, by its clock: the same map of seconds as in `service/window.py`.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from firesteel.errors import ConfigError
from firesteel.service.limiter import Memory, Taken, Want
from firesteel.service.window import MINUTE

if TYPE_CHECKING:
    from redis.asyncio import Redis

log = logging.getLogger("firesteel")

PATIENCE_SECONDS = 0.25  # longer than a Redis nearby ever takes, and shorter than anybody notices
RETRY_SECONDS = 1.0
PREFIX = "firesteel:limit:"

TAKE = """
local time = redis.call('TIME')
local second, granted, found = tonumber(time[1]), 1, {}
for i, name in ipairs(KEYS) do
  local fields, used, kept = redis.call('HGETALL', name), 0, {}
  for j = 1, #fields, 2 do
    if tonumber(fields[j]) < second - tonumber(ARGV[1]) then
      redis.call('HDEL', name, fields[j])
    else
      used = used + tonumber(fields[j + 1])
      kept[#kept + 1] = tonumber(fields[j])
      kept[#kept + 1] = tonumber(fields[j + 1])
    end
  end
  if used + tonumber(ARGV[2 * i + 1]) > tonumber(ARGV[2 * i]) then granted = 0 end
  found[i] = kept
end
if granted == 1 then
  for i, name in ipairs(KEYS) do
    redis.call('HINCRBY', name, second, ARGV[2 * i + 1])
    redis.call('EXPIRE', name, ARGV[1] + 2)
  end
end
return {granted, second, tonumber(time[2]), found}
"""
COUNT = """
local second = redis.call('TIME')[1]
redis.call('HINCRBY', KEYS[1], second, ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
"""
GIVE_BACK = """
local had = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0')
if had > 0 then redis.call('HINCRBY', KEYS[1], ARGV[1], -math.min(had, tonumber(ARGV[2]))) end
"""


class Shared:
    """A store in Redis. While it does not answer, `alone` decides: each gateway then grants the whole limit."""

    def __init__(self, redis: "Redis", now: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis
        self._now = now
        self._alone = Memory(now)
        self._take, self._count, self._give_back = map(redis.register_script, (TAKE, COUNT, GIVE_BACK))
        self._down_until = 0.0
        self._is_down = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.num_failures = 0

    async def take(self, wants: Sequence[Want]) -> Taken:
        """Grant all of `wants`, or nothing."""
        amounts = [number for want in wants for number in (want.limit, want.amount)]
        names = [PREFIX + want.name for want in wants]
        answer = await self._ask(lambda: self._take(keys=names, args=[MINUTE, *amounts]))
        if answer is None:
            return await self._alone.take(wants)
        is_granted, second, microseconds, found = answer
        kept = [dict(zip(fields[::2], fields[1::2], strict=True)) for fields in found]
        if is_granted:
            for want, counted in zip(wants, kept, strict=True):
                counted[second] = counted.get(second, 0) + want.amount
        return Taken(bool(is_granted), second + microseconds / 1e6, list(kept))

    def count(self, name: str, amount: int) -> None:
        """Count `amount` more, now, whatever the limit."""
        if self._is_down:
            self._alone.count(name, amount)
        else:
            self._later(lambda: self._count(keys=[PREFIX + name], args=[amount, MINUTE + 2]))

    def give_back(self, name: str, second: int, amount: int) -> None:
        """Count `amount` less of what was granted in `second`; one of the two stores knows that second."""
        self._alone.give_back(name, second, amount)
        self._later(lambda: self._give_back(keys=[PREFIX + name], args=[second, amount]))

    def _later(self, ask: Callable[[], Awaitable[Any]]) -> None:
        async def asked() -> None:
            await self._ask(ask)

        task = asyncio.get_running_loop().create_task(asked())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """Return what Redis answers; None while it does not, which is tried again every second."""
        from redis.exceptions import RedisError

        if self._is_down and self._now() < self._down_until:
            return None
        self._down_until = self._now() + RETRY_SECONDS  # while one tries, the others do not wait for it
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                answer = await ask()
        except (RedisError, OSError, TimeoutError) as error:
            self._failed(error)
            return None
        if self._is_down:
            log.warning("Redis answers again: limits are shared")
        self._is_down = False
        return answer

    def _failed(self, error: Exception) -> None:
        self.num_failures += 1
        if not self._is_down:
            log.error("Redis does not answer (%s); until it does, this server holds limits alone", type(error).__name__)
        self._is_down = True

    async def close(self) -> None:
        """Let the connections go."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._redis.aclose()


def open_shared(url: str) -> Shared:
    """Return the store at `url`, whether it answers now or not. Raises ConfigError for what is no address."""
    try:
        from redis.asyncio import Redis
        from redis.backoff import NoBackoff
        from redis.exceptions import RedisError
        from redis.retry import Retry
    except ImportError:
        raise ConfigError("shared limits need Redis' client; run: pip install 'firesteel[service]'") from None
    try:
        redis = Redis.from_url(url, socket_connect_timeout=PATIENCE_SECONDS, retry=Retry(NoBackoff(), 0))
        pool = redis.connection_pool
        pool.connection_class(**pool.connection_kwargs)  # says now what it does not understand; it connects later
    except (TypeError, ValueError, RedisError):  # which may name the password
        raise ConfigError("`limit_store` is no address of Redis; write redis://HOST:PORT/NUMBER") from None
    return Shared(redis)
