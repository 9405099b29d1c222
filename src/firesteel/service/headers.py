"""How a client is told where it stands with its limits: OpenAI's headers, and Anthropic's."""

import time
from collections.abc import Iterable

from firesteel.service.limiter import Standing
from firesteel.visit import Headers


def limit_headers(standings: Iterable[Standing], kind: str) -> Headers:
    """Return the headers of a response to a request of `kind`; none where there is no limit."""
    made = _anthropic if kind == "messages" else _openai
    return [(name.encode(), value.encode()) for standing in standings for name, value in made(standing)]


def _openai(standing: Standing) -> tuple[tuple[str, str], ...]:
    return (
        (f"x-ratelimit-limit-{standing.kind}", str(standing.limit)),
        (f"x-ratelimit-remaining-{standing.kind}", str(standing.remaining)),
        (f"x-ratelimit-reset-{standing.kind}", duration(standing.reset)),
    )


def _anthropic(standing: Standing) -> tuple[tuple[str, str], ...]:
    reset = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + standing.reset + 0.5))
    return (
        (f"anthropic-ratelimit-{standing.kind}-limit", str(standing.limit)),
        (f"anthropic-ratelimit-{standing.kind}-remaining", str(standing.remaining)),
        (f"anthropic-ratelimit-{standing.kind}-reset", reset),
    )


def duration(seconds: float) -> str:
    """Return `seconds` as OpenAI writes a duration: `850ms`, `12.5s`, `1m0s`."""
    milliseconds = max(0, round(seconds * 1000))
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    text = f"{rest / 1000:g}s"
    return f"{minutes}m{text}" if minutes else text
