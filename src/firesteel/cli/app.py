"""The commands, by name."""

from typing import Annotated

import typer

from firesteel import __version__
from firesteel.cli import bench, cache, complete, config, doctor, guard, keys, models, run, serve, train, usage
from firesteel.cli.chat import command as chat
from firesteel.cli.common import reported
from firesteel.cli.setup import command as setup

app = typer.Typer(
    help="Firesteel: a latency-first coding engine on your own hardware. Start with `firesteel run`.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: rich would double the time to show it
    add_completion=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"firesteel {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Firesteel: a latency-first coding engine on your own hardware. Start with `firesteel run`."""


app.command("run")(reported()(run.run))
app.command("chat")(reported()(chat.chat))
app.command("complete")(reported()(complete.complete))
app.command("serve")(reported()(serve.serve))
app.add_typer(config.app, name="config")
app.add_typer(models.app, name="models")
app.add_typer(cache.app, name="cache")
app.add_typer(keys.app, name="keys")
app.command("usage")(reported()(usage.usage))
app.add_typer(guard.app, name="guard")
app.add_typer(train.app, name="train")
app.command("bench")(reported()(bench.bench))
app.command("setup")(reported()(setup.setup))
app.command("doctor")(reported()(doctor.doctor))
