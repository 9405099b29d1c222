"""The model behind the chat: loaded, and changed, while the user may already type."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from firesteel.cli.chat.loading import Loaded, Settings, load
from firesteel.cli.common import fetch
from firesteel.errors import FiresteelError


class Abandoned(Exception):
    """The program ends while a model is being pulled; what was pulled so far is kept."""


class Change(NamedTuple):
    """What came of an attempt to load a model; without `loaded` there is none now."""

    settings: Settings
    loaded: Loaded | None
    error: FiresteelError | None = None


class Models:
    """Owns the engine. Loading runs on a thread, one at a time."""

    def __init__(self, settings: Settings, report: Callable[[str], None]) -> None:
        self.settings = settings
        self.has_crashed = False  # a bug ended the engine; changing to the same settings starts another
        self._report = report  # called on any thread with what is going on
        self.loaded: Loaded | None = None  # of which the conversation uses the runtime
        self._closing = False

    async def change(self, settings: Settings) -> Change:
        """Load what `settings` say in the place of what is loaded, which stays where the new file cannot be had."""
        self.has_crashed = False
        change = await asyncio.to_thread(self._change, settings)
        self.settings, self.loaded = change.settings, change.loaded
        return change

    async def close(self) -> None:
        """End the engine."""
        if self.loaded is not None:
            await asyncio.to_thread(self.loaded.worker.close)

    def abandon(self) -> None:
        """Let a pull that is going on end at its next piece."""
        self._closing = True

    def _change(self, settings: Settings) -> Change:
        before = self.loaded
        try:
            fetch(settings.engine, self._progress)
        except Abandoned:
            raise
        except Exception as error:
            return Change(self.settings, before, _told(error))
        if before is not None:
            before.worker.close()
        self._report(f"loading {settings.name}")
        try:
            return Change(settings, load(settings, self._crash))
        except Exception as error:  # the conversation outlives whatever a model file can bring about
            if before is None:
                return Change(settings, None, _told(error))
            return Change(self.settings, self._again(), _told(error))

    def _again(self) -> Loaded | None:
        """Load what was loaded before, if that can still be done."""
        try:
            return load(self.settings, self._crash)
        except Exception:
            return None

    def _crash(self) -> None:
        self.has_crashed = True
        self._report("")

    def _progress(self, done: int, total: int, label: str) -> None:
        """See `models.files.Progress`."""
        if self._closing:
            raise Abandoned
        self._report(f"{label} {100 * done // total} %" if total else label)


def _told(error: Exception) -> FiresteelError:
    """Return `error` as one that can be shown."""
    return error if isinstance(error, FiresteelError) else FiresteelError(f"{type(error).__name__}: {error}")
