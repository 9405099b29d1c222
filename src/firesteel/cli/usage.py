"""`firesteel usage`: what was asked, by whom, and what it cost, from the ledger; a server may run meanwhile."""

import csv
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from firesteel.cli import places
from firesteel.cli.common import JsonOption, print_json
from firesteel.cli.moments import moment
from firesteel.cli.places import ConfigOption
from firesteel.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

    from firesteel.service.ledger_store import Asked

GROUPS = ("key", "model", "day", "endpoint")
MEANS = ("queue_seconds", "ttft_seconds", "seconds")

ByOption = Annotated[
    str, typer.Option(help="What to add up by: some of key, model, day (UTC) and endpoint, separated by commas.")
]
SinceOption = Annotated[
    str | None, typer.Option(help="From then on: a day or time such as 2026-11-29 (UTC), or 90m, 24h, 7d, 2w ago.")
]
UntilOption = Annotated[str | None, typer.Option(help="Up to then, in the same ways.")]
KeyOption = Annotated[str | None, typer.Option(help="Only this key, by its name or id.")]
ModelOption = Annotated[str | None, typer.Option(help="Only this model.")]
LedgerOption = Annotated[
    str | None,
    typer.Option(help="The ledger, as `serve --ledger` names it.", show_default="the configuration's"),
]
KeysOption = Annotated[
    str | None, typer.Option("--keys", help="The file that knows the keys' names.", show_default="the configuration's")
]


def usage(
    by: ByOption = "key",
    since: SinceOption = None,
    until: UntilOption = None,
    key: KeyOption = None,
    model: ModelOption = None,
    ledger: LedgerOption = None,
    keys: KeysOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")] = False,
) -> None:
    """Show requests, tokens, waits and cost in dollars, added up by key, model, day or endpoint."""
    from firesteel.service.ledger_store import Asked

    if as_json and as_csv:
        raise ConfigError("--json and --csv exclude each other; choose one")
    now, names = time.time(), names_of(keys, config)
    asked = Asked(
        by=groups_of(by),
        since=moment(since, now) if since is not None else None,
        until=moment(until, now) if until is not None else None,
        key=id_of(key, names),
        model=model,
    )
    rows = [named(row, names) for row in read(places.ledger(ledger, config), asked)]
    if as_json:
        print_json(rows)
    elif as_csv:
        print_csv(rows)
    else:
        print_table(rows)


def read(address: str, asked: "Asked") -> list[Mapping[str, Any]]:
    """Return the sums that are asked for. Raises ConfigError when there is no ledger, or it cannot be read."""
    from firesteel.service.ledger_store import FAILURES, LedgerStore, url_of

    url = url_of(address)
    if url.drivername == "sqlite" and not (url.database and Path(url.database).is_file()):
        raise ConfigError(f"there is no ledger at {url.database}; `firesteel serve` makes it with the first request")
    store = LedgerStore(url)
    try:
        return [row for row in store.usage(asked) if row["requests"]]
    except FAILURES as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"the ledger at {place_of(url)} cannot be read: {reason}") from None
    finally:
        store.close()


def place_of(url: "URL") -> str:
    """Return what may be shown of a ledger's address: its user, password and options may be secrets."""
    return type(url).create(url.drivername, host=url.host, port=url.port, database=url.database).render_as_string()


def names_of(keys: str | None, config: str | None) -> dict[str, str]:
    """Return the names of keys by their ids; none where there is no file of keys that can be read."""
    from firesteel.service.key_file import KeyFile

    try:
        path = places.find_key_file(keys, config)
        return {key.id: key.name for key in KeyFile(path).load()} if path is not None else {}
    except ConfigError as error:
        typer.echo(f"warning: keys have no names here: {error}", err=True)
        return {}


def id_of(wanted: str | None, names: Mapping[str, str]) -> str | None:
    """Return the id of the key that is `wanted` by its id or name."""
    return next((id for id, name in reversed(list(names.items())) if name == wanted), wanted)


def named(row: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return `row` with the name of its key."""
    shown = {}
    for column, value in row.items():
        shown[column] = value
        if column == "key":
            shown["name"] = names.get(value, "")
    return shown


def groups_of(text: str) -> tuple[str, ...]:
    """Return what `--by` names; nothing for an empty one. Raises ConfigError."""
    groups = tuple(part.strip() for part in text.split(",") if part.strip())
    unknown = [group for group in groups if group not in GROUPS]
    if unknown or len(set(groups)) < len(groups):
        raise ConfigError(f"--by {text!r}: name some of {', '.join(GROUPS)}, each once")
    return groups


def print_csv(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print a line of names, then one for each row; nothing where there are none."""
    if rows:
        writer = csv.DictWriter(sys.stdout, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the rows for people."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not rows:
        typer.echo("no requests were entered for that")
        return
    table = Table(*(name.removesuffix("_seconds").replace("_", " ") for name in rows[0]), box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(written(name, value)) for name, value in row.items()))
    Console(width=None if sys.stdout.isatty() else 240).print(table)


def written(name: str, value: Any) -> str:
    """Return a value as people read it."""
    if value is None:
        return "-"
    if name == "cost":
        return f"${value:,.4f}"
    if name in MEANS:
        return f"{1000 * value:,.0f} ms"
    return f"{value:,}" if isinstance(value, int) else str(value) or "-"
