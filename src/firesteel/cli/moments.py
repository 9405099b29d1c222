"""Points in time as people write them on the command line."""

import re
from datetime import UTC, datetime

from firesteel.errors import ConfigError

UNITS = {"m": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400}


def moment(text: str, now: float, *, is_ahead: bool = False) -> float:
    """Return the time that `text` names, in seconds since 1970: a day, a time, or a span such as 7d from `now`.

    Spans go back, or forward if it `is_ahead`. Days and times without an offset are UTC. Raises ConfigError.
    """
    if span := re.fullmatch(r"(\d{1,6})([mhdw])", text):
        seconds = int(span[1]) * UNITS[span[2]]
        return now + seconds if is_ahead else now - seconds
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{text!r} is no time; write 2026-11-29, 2026-11-29T08:00, or 90m, 24h, 7d, 2w") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
