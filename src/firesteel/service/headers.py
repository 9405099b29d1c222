"""How a client is told where it stands with its limits: OpenAI's headers, and Anthropic's."""

import time
from collections.abc import Iterable

from firesteel.service.limiter import REQUESTS, TOKENS, Standing
from firesteel.visit import Headers

_OPENAI = ("x-ratelimit-limit-{}", "x-ratelimit-remaining-{}", "x-ratelimit-reset-{}")
_ANTHROPIC = ("anthropic-ratelimit-{}-limit", "anthropic-ratelimit-{}-remaining", "anthropic-ratelimit-{}-reset")
LIMIT_HEADERS = tuple(name.format(kind) for name in (*_OPENAI, *_ANTHROPIC) for kind in (REQUESTS, TOKENS))


def limit_headers(standings: Iterable[Standing], kind: str) -> Headers:
    """Return the headers of a response to a request of `kind`; none where there is no limit."""
    names, reset = (_ANTHROPIC, moment) if kind == "messages" else (_OPENAI, duration)
    return [
        (name.format(standing.kind).encode(), value.encode())
        for standing in standings
        for name, value in zip(
            names, (str(standing.limit), str(standing.remaining), reset(standing.reset)), strict=True
        )
    ]


def moment(seconds: float) -> str:
    """Return when `seconds` from now is, as Anthropic writes a time."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds + 0.5))


def duration(seconds: float) -> str:
    """Return `seconds` as OpenAI writes a duration: `850ms`, `12.5s`, `1m0s`."""
    milliseconds = max(0, round(seconds * 1000))
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    text = f"{rest / 1000:g}s"
    return f"{minutes}m{text}" if minutes else text
