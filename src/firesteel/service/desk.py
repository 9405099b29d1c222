"""Where every request is received: its limits, and its line in the ledger."""

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

from firesteel import config
from firesteel.config import ServerConfig
from firesteel.service.journal import Journal
from firesteel.service.keyring import Caller
from firesteel.service.ledger import Ledger
from firesteel.service.ledger_row import Prices, Row
from firesteel.service.limiter import Limiter, Limits, Memory
from firesteel.service.limiter import Store as LimitStore
from firesteel.service.metered import Metered
from firesteel.types import Usage

NONE = "none"

log = logging.getLogger("firesteel")


class Desk:
    """Makes the visits of one server. Belongs to the event loop; the ledger has a thread of its own."""

    def __init__(self, limiter: Limiter, ledger: Ledger | None, limits: Limits, prices: Prices) -> None:
        self.limiter = limiter
        self.limits = limits  # of a key that has none of its own
        self._ledger = ledger
        self.finished: Callable[[Usage], None] = lambda _: None  # told what each sequence cost when it has ended
        self._prices = prices
        self._open: set[Metered] = set()

    def visit(self, caller: Caller, kind: str, request_id: str) -> Metered:
        """Receive a request of `caller`."""
        visit = Metered(self, caller, kind, request_id)
        self._open.add(visit)
        return visit

    def settled(self, visit: Metered, row: Row) -> None:
        """Enter what `visit` came to."""
        self._open.discard(visit)
        if self._ledger is not None:
            row.priced(self._prices)
            self._ledger.put(row)

    def take(self, settings: ServerConfig) -> None:
        """Take limits and prices of `settings` from now on."""
        self.limits, self._prices = limits_of(settings), prices_of(settings)

    def figures(self) -> dict[str, int]:
        """Return what the metrics tell of the desk."""
        figures = {
            "num_visits": len(self._open),
            "num_rate_limited": self.limiter.num_refused,
            "num_limit_store_failures": self.limiter.store.num_failures,
        }
        if (ledger := self._ledger) is not None:
            figures |= {
                "num_ledger_written": ledger.num_written,
                "num_ledger_waiting": ledger.num_waiting,
                "num_ledger_lost": ledger.num_lost,
                "num_ledger_failures": ledger.num_failures,
            }
        return figures

    async def close(self) -> None:
        """Settle what is open, and write it; takes some seconds when the database does not answer."""
        for visit in list(self._open):
            visit.abandon()
        if self._ledger is not None:
            await asyncio.to_thread(self._ledger.close)
        await self.limiter.store.close()


def limits_of(settings: ServerConfig) -> Limits:
    """Return the limits of keys that have none of their own."""
    return Limits(settings.requests_per_minute, settings.tokens_per_minute)


def prices_of(settings: ServerConfig) -> Prices:
    """Return what tokens cost."""
    return Prices(settings.price_input, settings.price_output, settings.price_cached)


def open_desk(settings: ServerConfig) -> Desk:
    """Return the desk that `settings` describe. Raises ConfigError for a ledger that cannot be one."""
    ledger = open_ledger(settings.ledger, settings.ledger_seconds) if settings.ledger != NONE else None
    return Desk(Limiter(limit_store(settings.limit_store)), ledger, limits_of(settings), prices_of(settings))


def limit_store(url: str | None) -> LimitStore:
    """Return what counts limits: this process, or the Redis at `url`. Raises ConfigError for what is no address."""
    if url is None:
        return Memory(time.monotonic)
    from firesteel.service.shared import open_shared

    return open_shared(url)


def open_ledger(address: str | None, max_seconds: float | None) -> Ledger:
    """Return the ledger at `address`, which keeps rows for `max_seconds`. Raises ConfigError for what is no address."""
    from firesteel.service.ledger_store import LedgerStore, name_of, url_of

    url = url_of(address or config.ledger_file())
    LedgerStore(url).close()  # a missing driver is said now; the database may come later
    return Ledger(lambda: LedgerStore(url, max_seconds), journal=_journal(config.journal_folder() / name_of(url)))


def _journal(folder: Path) -> Journal | None:
    try:
        return Journal(folder)
    except OSError as error:
        log.warning("%s: requests that wait for the ledger are in memory only: %s", folder, error.strerror or error)
        return None
