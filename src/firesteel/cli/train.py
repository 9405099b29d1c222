"""`firesteel train`: make the learned parts of the package again."""

import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from firesteel.cli.common import JsonOption, print_json, reported
from firesteel.errors import ConfigError

if TYPE_CHECKING:
    from firesteel.guard.sentinel import Head

DATA = "../shared/data/guard"
app = typer.Typer(
    help="Train the learned parts of the package on your own data.", no_args_is_help=True, rich_markup_mode=None
)


@app.callback()
def options() -> None:
    """Train the learned parts of the package on your own data."""


DataOption = Annotated[
    Path | None,
    typer.Option("--data", help="A folder of labelled pairs (*.jsonl).", show_default=f"{DATA}, where it is"),
]
OrdinaryOption = Annotated[
    Path | None,
    typer.Option(
        "--ordinary", help="A folder of code that is believed to be good.", show_default="the standard library"
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", help="Where the weights go.", show_default="the package: the guard then uses them"),
]
CardOption = Annotated[Path | None, typer.Option("--card", help="Write the model card here too.")]


@app.command()
@reported()
def sentinel(
    data: DataOption = None,
    ordinary: OrdinaryOption = None,
    out: OutOption = None,
    card: CardOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train the sentinel, the guard's classifier of statements, and measure it on held-out folds (half a minute).

    Each line of the data is a JSON object: "language", "cwe", "vulnerable" and "fixed" (code before and after its flaw
    was mended), "file" (what is of one file is held out together) and "vulnerable_spans" (pairs of code points that the
    fix removed). What the sentinel may then do (observe, warn, rewrite, doubt what rules find) follows from its figures
    on code that it had not seen. The same data give the same bytes.
    """
    from firesteel.train.card import card as written
    from firesteel.train.sentinel import train

    folder = data or Path(DATA)
    if not folder.is_dir():
        raise ConfigError(
            f"{folder} is no folder: give --data a folder of labelled pairs (see `firesteel train sentinel --help` for "
            "their form; SVEN and SafeCoder publish such pairs under the MIT licence)",
            param="data",
        )
    good = ordinary or Path(sysconfig.get_path("stdlib"))
    python = ".".join(map(str, sys.version_info[:2]))
    called = ordinary.name if ordinary else f"the standard library of Python {python}"
    weights, head = train(folder, good, called, lambda line: typer.echo(line, err=True))
    path = out or packaged()
    path.write_bytes(weights)
    if card is not None:
        card.write_text(written(head), encoding="utf-8")
    show(path, len(weights), head, as_json)


def show(path: Path, size: int, head: "Head", as_json: bool) -> None:
    """Print what was trained and how it fared."""
    if as_json:
        print_json({"path": str(path), "bytes": size, "head": head})
        return
    doubt = head.figures["chosen"]["doubt"]
    found = "silent" if head.find_at is None else f"{head.find_action} from {head.find_at}"
    typer.echo(f"{path}: {size:,} bytes; speaks up: {found}; doubts below {head.doubt_below}")
    typer.echo(
        f"held out: {doubt['removed']} of {doubt['false']} false rewrites become warnings, "
        f"and {doubt['lost']} of {doubt['true']} right ones"
    )


def packaged() -> Path:
    """Return where the package keeps its weights."""
    import firesteel.guard
    from firesteel.guard.sentinel import WEIGHTS

    return Path(firesteel.guard.__file__).with_name(WEIGHTS)
