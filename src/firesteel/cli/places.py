"""Where a server keeps its keys and its ledger, for the commands that look at them beside it."""

from pathlib import Path
from typing import Annotated

import typer

from firesteel import config
from firesteel.errors import ConfigError
from firesteel.settings.resolve import look_up

NONE = "none"

ConfigOption = Annotated[
    str | None,
    typer.Option(
        help="Configuration file of the server that is meant.",
        show_default="as `serve` finds it: ./firesteel.toml, ~/.config, /etc",
    ),
]


def key_file(named: str | None, configuration: str | None = None) -> Path:
    """Return the file of keys: `named`, else that of the configuration, else the home's. Raises ConfigError."""
    path = find_key_file(named, configuration)
    if path is None:
        raise ConfigError("`keys` is none, so this server has no file of keys; name another with --keys FILE")
    return path


def find_key_file(named: str | None, configuration: str | None = None) -> Path | None:
    """Return the same, None where there is to be no file. Raises ConfigError for a configuration that cannot be."""
    path = named or look_up("keys", configuration).value
    return None if path == NONE else Path(path or config.key_file())


def ledger(named: str | None, configuration: str | None = None) -> str:
    """Return the address of the ledger, found in the same way. Raises ConfigError where there is none."""
    address: str | None = named or look_up("ledger", configuration).value
    if address == NONE:
        raise ConfigError("`ledger` is none, so this server keeps none; name another with --ledger")
    return address or config.ledger_file()
