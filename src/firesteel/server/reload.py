"""SIGHUP: settings are read again, and those that can change while the server runs are taken over."""

import logging
from collections.abc import Callable, Sequence

import msgspec

from firesteel.config import ServerConfig
from firesteel.errors import ConfigError
from firesteel.server.auth import check_bind
from firesteel.settings.resolve import Settings
from firesteel.settings.table import SETTINGS

_log = logging.getLogger("firesteel")

LIVE_FIELDS = frozenset(setting.field.removeprefix("server.") for setting in SETTINGS.values() if setting.is_live)


class Reload:
    """What was last in force, and how to read it again. Streams never notice.

    `take` are called with the new config, in their order; one that raises ConfigError keeps its old state.
    """

    def __init__(self, settings: Settings, read_again: Callable[[], Settings]) -> None:
        self._started = settings
        self._settings = settings
        self._read_again = read_again

    def __call__(self, config: ServerConfig, take: Sequence[Callable[[ServerConfig], None]]) -> None:
        """Read the settings again and hand `config`, with what changed of it, to `take`. Logs what was done."""
        try:
            new = self._read_again()
            server = new.server()
            check_bind(config.host, server)
            changed = msgspec.structs.replace(config, **{name: getattr(server, name) for name in LIVE_FIELDS})
            for taker in take:
                taker(changed)
        except ConfigError as error:
            _log.error("reload refused, the old settings stay: %s", error)
            return
        self._say(new)
        self._settings = new

    def _say(self, new: Settings) -> None:
        live = [setting.name for setting in self._settings.changed(new) if setting.is_live]
        others = [setting.name for setting in self._started.changed(new) if not setting.is_live]
        _log.info("settings reloaded; changed: %s", ", ".join(live) or "none")
        if others:
            _log.warning("these changes need a restart: %s", ", ".join(others))
