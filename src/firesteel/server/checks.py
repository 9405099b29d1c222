"""What can be said of a server's settings before anything is done: at its start, and by `firesteel config show`."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from firesteel import config
from firesteel.config import ServerConfig
from firesteel.errors import ConfigError
from firesteel.server.auth import NO_FILE, check_bind, keyring
from firesteel.server.guarding import guards_of
from firesteel.server.tls import Tls, uses_tls
from firesteel.service.desk import NONE, limit_store

SQLITE = b"SQLite format 3\0"
MEMORY = ":memory:"


def check(settings: ServerConfig) -> None:
    """Raise ConfigError for what could not be served, or would only be found out by the first request."""
    check_bind(settings.host, settings)
    guards_of(settings)
    if uses_tls(settings):
        Tls(settings)
    limit_store(settings.limit_store)
    _check_ledger(settings.ledger)
    store = settings.response_store or config.response_file()
    if store not in (NONE, MEMORY):
        _check_database("response_store", Path(store))


def remarks(settings: ServerConfig) -> Iterator[str]:
    """Yield what is allowed, and what whoever starts a server should know."""
    path = settings.key_file
    if path not in (None, NO_FILE) and not Path(path or "").exists():
        yield f"there is no key file {path} yet; `firesteel keys create NAME --keys {path}` makes it"
    if path is not None and _is_open(settings):
        yield f"no key is known: whoever reaches {settings.host}:{settings.port} may ask"


def _is_open(settings: ServerConfig) -> bool:
    try:
        return keyring(settings).is_open
    except ConfigError:  # which `check` tells of
        return False


def _check_ledger(address: str | None) -> None:
    if address == NONE:
        return
    from firesteel.service.ledger_store import url_of

    url = url_of(address or config.ledger_file())
    if url.drivername == "sqlite" and url.database not in (None, "", MEMORY):
        _check_database("ledger", Path(url.database or ""))


def _check_database(setting: str, path: Path) -> None:
    """Raise ConfigError unless `path` is an SQLite file or may become one."""
    try:
        if not path.exists():
            _check_folder(next(folder for folder in path.absolute().parents if folder.exists()))
            return
        with path.open("rb") as file:
            head = file.read(len(SQLITE))
    except IsADirectoryError:
        raise ConfigError(f"`{setting}`: {path} is a folder; name a file in it") from None
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(f"`{setting}`: {path} cannot be a file ({reason}); name another path") from None
    if head not in (b"", SQLITE):
        raise ConfigError(f"`{setting}`: {path} is no SQLite database; name another path")


def _check_folder(folder: Path) -> None:
    """Raise OSError unless something may be put into `folder`."""
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
