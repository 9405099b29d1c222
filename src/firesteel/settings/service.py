"""Who may ask for how much, and where it is entered what that cost."""

from typing import Annotated

from msgspec import Meta

from firesteel.settings.setting import Setting
from firesteel.settings.takes import Positive, Price, days_or_ever

PerMinute = Annotated[int, Meta(ge=1)]

RATES = (
    Setting(
        name="requests_per_minute",
        field="server.requests_per_minute",
        takes=PerMinute | None,
        is_live=True,
        help="Requests that a key without a limit of its own may send in a minute.",
    ),
    Setting(
        name="tokens_per_minute",
        field="server.tokens_per_minute",
        takes=PerMinute | None,
        is_live=True,
        help="Tokens, read and written, that a key without a limit of its own may have in a minute.",
    ),
    Setting(
        name="limit_store",
        field="server.limit_store",
        takes=str | None,
        stands_for="this process",
        is_secret=True,
        is_address=True,
        help="Redis in which several servers hold the limits together, as in redis://HOST:6379/0.",
    ),
)

LEDGER = (
    Setting(
        name="ledger",
        field="server.ledger",
        takes=str | None,
        stands_for="ledger.db",
        is_secret=True,
        is_address=True,
        help="Where each request is entered: an SQLite file, or postgresql://USER@HOST/DATABASE; `none` is nowhere.",
    ),
    Setting(
        name="ledger_days",
        field="server.ledger_seconds",
        takes=Positive | None,
        stands_for="for ever",
        make=days_or_ever,
        help="Days that a request stays in the ledger.",
    ),
    Setting(
        name="price_input",
        field="server.price_input",
        takes=Price,
        default=5.0,
        is_live=True,
        help="Dollars for a million tokens read.",
    ),
    Setting(
        name="price_output",
        field="server.price_output",
        takes=Price,
        default=15.0,
        is_live=True,
        help="Dollars for a million tokens written.",
    ),
    Setting(
        name="price_cached",
        field="server.price_cached",
        takes=Price | None,
        stands_for="as price_input",
        is_live=True,
        help="Dollars for a million tokens of prompts that were warm.",
    ),
)
