"""Who may reach the server at all: without any key it stays on this machine."""

import ipaddress
from pathlib import Path

from firesteel import config
from firesteel.config import ServerConfig
from firesteel.errors import ConfigError
from firesteel.service.key_file import KeyFile
from firesteel.service.keyring import Keyring

NO_FILE = "none"


def keyring(settings: ServerConfig) -> Keyring:
    """Return the keys that `settings` name. Raises ConfigError when their file cannot be read."""
    path = settings.key_file or config.key_file()
    return Keyring(None if path == NO_FILE else KeyFile(Path(path)), settings.api_keys)


def check_bind(host: str, settings: ServerConfig) -> None:
    """Raise ConfigError when `host` can be reached from elsewhere and no key of `settings` protects it."""
    if keyring(settings).is_open and not is_loopback(host):
        file = "name a file with --keys" if settings.key_file == NO_FILE else "run `firesteel keys create NAME`"
        raise ConfigError(
            f"refusing to listen on {host} without a key: {file}, set FIRESTEEL_API_KEY, or listen on 127.0.0.1"
        )


def is_loopback(host: str) -> bool:
    """Return whether `host` can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
