"""The table. A new setting is one row in one of its groups: its key in the file, its variable, its flag and its
documentation follow.

Its field must be there in `EngineConfig` or `ServerConfig`. `make docs` writes docs/reference/configuration.md.
"""

from firesteel.settings.engine import MODEL, SPEED
from firesteel.settings.guard import GUARD
from firesteel.settings.kept import KEPT
from firesteel.settings.server import LIMITS, SERVER, WEB
from firesteel.settings.service import LEDGER, RATES
from firesteel.settings.setting import Setting

GROUPS: tuple[tuple[str, tuple[Setting, ...]], ...] = (
    ("The model", MODEL),
    ("Speed and memory", SPEED),
    ("The server", SERVER),
    ("The guard", GUARD),
    ("The web", WEB),
    ("Limits", LIMITS),
    ("Limits of a key", RATES),
    ("What is kept", KEPT),
    ("The ledger", LEDGER),
)
SETTINGS: dict[str, Setting] = {setting.name: setting for _, group in GROUPS for setting in group}
