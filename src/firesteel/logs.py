"""How log lines look: for people, or one JSON object a line. Neither holds a prompt, an answer or a key."""

import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

import msgspec

LogFormat = Literal["text", "json"]
FIELDS = "fields"  # the attribute of a log record that holds more than words


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, the request's id where there is one, and `fields`."""

    def __init__(self, request_id: Callable[[], str | None]) -> None:
        super().__init__()
        self._request_id = request_id

    def format(self, record: logging.LogRecord) -> str:
        """Return `record` as JSON."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (id := self._request_id()) is not None:
            line["request_id"] = id
        line |= getattr(record, FIELDS, {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def configure(form: LogFormat, request_id: Callable[[], str | None] = lambda: None) -> None:
    """Send the log of this process to stderr in `form`. `request_id` tells which request is being answered."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(request_id) if form == "json" else logging.Formatter("firesteel: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    for noisy in ("httpx", "httpcore", "opentelemetry"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
