"""Settings of what is kept, and where."""

from typing import Literal

from firesteel.settings.setting import Setting
from firesteel.settings.takes import Count, CountOrNone, Positive, days, megabytes

STRICT = {"disk_cache": 0, "response_store": "none"}  # what `privacy = "strict"` stands for

KEPT = (
    Setting(
        name="privacy",
        field="server.privacy",
        takes=Literal["normal", "strict"],
        default="normal",
        help="strict: no prompt and no answer is written to a disk (`disk_cache` 0, `response_store` none); see "
        "docs/how-to/privacy.md.",
    ),
    Setting(
        name="disk_cache",
        field="engine.disk_bytes",
        takes=CountOrNone,
        default=4096,
        make=megabytes,
        help="Disk for KV that outlives the process, in MB; 0 is none. See `firesteel cache`.",
    ),
    Setting(
        name="response_store",
        field="server.response_store",
        takes=str | None,
        stands_for="responses.db",
        help="SQLite file of stored responses; `:memory:` keeps them for this run, `none` keeps none.",
    ),
    Setting(
        name="response_store_mb",
        field="server.response_bytes",
        takes=Count,
        default=1000,
        make=megabytes,
        help="Size of stored responses at most, in MB; the oldest go first.",
    ),
    Setting(
        name="response_days",
        field="server.response_seconds",
        takes=Positive,
        default=30.0,
        make=days,
        help="Days that a stored response is kept.",
    ),
)
