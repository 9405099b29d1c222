"""Settings of what is kept, and where."""

from firesteel.settings.setting import Setting
from firesteel.settings.takes import CountOrNone, megabytes

KEPT = (
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
        help="SQLite file of stored responses; `:memory:` keeps them for this run.",
    ),
)
