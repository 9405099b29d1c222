"""`firesteel keys`: create, list and revoke the keys of a server; a running one notices at once."""

import sys
import time
from typing import Annotated, Any

import typer

from firesteel.cli.common import JsonOption, print_json, reported
from firesteel.cli.moments import moment
from firesteel.cli.places import ConfigOption, key_file
from firesteel.errors import ConfigError
from firesteel.service.key_file import SCOPES, Key, KeyFile, KeyScope

WIDE = 240  # columns, where no terminal says how many there are

app = typer.Typer(
    help="Create, list and revoke the API keys of a server; it may run meanwhile.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

FileOption = Annotated[
    str | None,
    typer.Option("--keys", help="The file that holds the hashes of the keys.", show_default="the configuration's"),
]
RequestsOption = Annotated[
    int | None, typer.Option(min=1, help="Requests that the key may send in a minute.", show_default="the server's")
]
TokensOption = Annotated[
    int | None, typer.Option(min=1, help="Tokens, read and written, in a minute.", show_default="the server's")
]
ScopeOption = Annotated[
    list[str],
    typer.Option("--scope", help="What it may do: generate, models, metrics; may be given more than once."),
]
ExpiresOption = Annotated[
    str | None,
    typer.Option(help="When it ends: 90d, 12h or 2w from now, or a day such as 2027-01-31.", show_default="never"),
]
UseOption = Annotated[
    list[str] | None,
    typer.Option("--model", help="A model that it may use; may be given more than once.", show_default="all"),
]


@app.command()
@reported()
def create(
    name: Annotated[str, typer.Argument(help="Whose key it is; shown by `keys list` and `usage`.")],
    scope: ScopeOption = ["generate"],  # noqa: B006 (typer's way to name a default)
    model: UseOption = None,
    requests_per_minute: RequestsOption = None,
    tokens_per_minute: TokensOption = None,
    expires: ExpiresOption = None,
    keys: FileOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a key and print it; it is shown this once, and only its hash is kept."""
    file = KeyFile(key_file(keys, config))
    key, secret = file.create(
        name,
        scopes=scopes_of(scope),
        models=tuple(model or ()),
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        expires=int(moment(expires, time.time(), is_ahead=True)) if expires is not None else None,
    )
    if as_json:
        print_json({**shown(key), "key": secret})
        return
    typer.echo(secret)
    typer.echo(f"key {key.id} of {name}, in {file.path}; it is not shown again", err=True)


def scopes_of(names: list[str]) -> tuple[KeyScope, ...]:
    """Return the scopes that `--scope` names. Raises ConfigError for an unknown one."""
    unknown = [name for name in names if name not in SCOPES]
    if unknown:
        raise ConfigError(f"--scope {unknown[0]!r}: name some of {', '.join(SCOPES)}")
    return tuple(scope for scope in SCOPES if scope in names)


@app.command("list")
@reported()
def list_keys(keys: FileOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the keys, those that have ended too, without anything that lets one in."""
    found = KeyFile(key_file(keys, config)).load()
    if as_json:
        print_json([shown(key) for key in found])
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not found:
        typer.echo("there are no keys; `firesteel keys create NAME` makes one")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("id", "name", "state", "scopes", "models", "requests/min", "tokens/min"):
        table.add_column(column, no_wrap=column == "id", overflow="fold")
    for key in found:
        lists = (" ".join(key.scopes), " ".join(key.models) or "all")
        limits = (_number(key.requests_per_minute), _number(key.tokens_per_minute))
        table.add_row(*map(Text, (key.id, key.name, state(key, time.time()), *lists, *limits)))
    Console(width=None if sys.stdout.isatty() else WIDE).print(table)


def state(key: Key, now: float) -> str:
    """Return whether a key is valid, in words."""
    if key.revoked is not None:
        return f"revoked {_day(key.revoked)}"
    if key.expires is None:
        return "valid"
    return f"{'expired' if key.has_ended(now) else 'until'} {_day(key.expires)}"


@app.command()
@reported()
def revoke(
    key: Annotated[str, typer.Argument(help="Its id or its name.")],
    keys: FileOption = None,
    config: ConfigOption = None,
) -> None:
    """Revoke a key: what it asks from now on is refused; what it asked before is still answered."""
    revoked = KeyFile(key_file(keys, config)).revoke(key)
    typer.echo(f"revoked {revoked.id} ({revoked.name})")


def shown(key: Key) -> dict[str, Any]:
    """Return what may be shown of a key."""
    return {
        "id": key.id,
        "name": key.name,
        "scopes": list(key.scopes),
        "models": list(key.models),
        "requests_per_minute": key.requests_per_minute,
        "tokens_per_minute": key.tokens_per_minute,
        "created": _time(key.created),
        "expires": _time(key.expires),
        "revoked": _time(key.revoked),
    }


def _day(seconds: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


def _time(seconds: int | None) -> str | None:
    return None if seconds is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _number(value: int | None) -> str:
    return f"{value:,}" if value is not None else "server's"
