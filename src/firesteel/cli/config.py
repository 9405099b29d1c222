"""`firesteel config`: what `firesteel serve` would be told, and by whom."""

from typing import Any

import typer

from firesteel.cli.common import JsonOption, print_json, reported
from firesteel.cli.options import takes_settings, typed
from firesteel.cli.serve import ConfigOption
from firesteel.settings.resolve import Settings, Value, resolve

app = typer.Typer(help="Settings of `firesteel serve`.", no_args_is_help=True, rich_markup_mode=None)


@app.command("show")
@reported()
@takes_settings
def show(invoked: typer.Context, config: ConfigOption = None, as_json: JsonOption = False, **flags: Any) -> None:
    """Print every setting of `firesteel serve`, its value and where it comes from. Secrets are not shown.

    Fails where a server could not be started with them.
    """
    from firesteel.server import checks

    settings = resolve(typed(invoked, flags), config=config)
    for warning in (*settings.warnings, *checks.remarks(settings.server())):
        typer.echo(f"warning: {warning}", err=True)
    if as_json:
        print_json(_document(settings))
    else:
        _print(settings)
    checks.check(settings.server())


def _document(settings: Settings) -> dict[str, Any]:
    values = {name: _entry(value) for name, value in settings.values.items()}
    return {"file": str(settings.file) if settings.file else None, "settings": values}


def _entry(value: Value) -> dict[str, Any]:
    shown = value.setting.shown(value.value) if value.setting.hides(value.value) else value.value
    return {"value": shown, "from": value.kind, "where": value.where or None}


def _print(settings: Settings) -> None:
    rows = [(name, v.setting.shown(v.value), v.where or "default") for name, v in settings.values.items()]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for name, value, where in rows:
        typer.echo(f"{name:{widths[0]}}  {value:{widths[1]}}  {where}")
    typer.echo(f"file: {settings.file or 'none'}", err=True)
