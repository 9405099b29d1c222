"""`firesteel models`: what models there are, getting them, finding them, removing them."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from firesteel.cli.common import print_json, reported, shown_progress

app = typer.Typer(help="List, pull, find and remove models.", no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[str, typer.Argument(help="A name of the catalogue, or hf:owner/repo[@revision]/file.gguf.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


class Kind(StrEnum):
    """The kinds of requantised copies, as an option shows them."""

    q4_0 = "q4_0"
    q8_0 = "q8_0"


@app.command("list")
@reported()
def list_models(as_json: Json = False) -> None:
    """Show the catalogue and the model files on this machine."""
    rows = [*catalogue_rows(), *other_rows()]
    if as_json:
        print_json(rows)
        return
    from rich.console import Console
    from rich.table import Table

    from firesteel.models.files import megabytes

    table = Table("name", "on disk", "size", "licence", "about", box=None, pad_edge=False)
    table.columns[0].overflow = "fold"  # a name is there to be copied
    for row in rows:
        table.add_row(row["name"], state(row), megabytes(row["bytes"]), row["license"] or "", row["summary"])
    Console().print(table)


def state(row: dict[str, Any]) -> str:
    """Return how far the model of a row has come onto this machine."""
    if row["present"]:
        return "yes"
    return f"{100 * row['partial_bytes'] // row['bytes']} %" if row["partial_bytes"] else "no"


def catalogue_rows() -> list[dict[str, Any]]:
    """Return what there is to say about each model of the catalogue."""
    from firesteel.models import catalogue, files, pull

    rows = []
    for entry in catalogue.CATALOGUE:
        path = pull.path_of(entry)
        part = files.beside(path, ".part")
        row = {
            "name": entry.name,
            "bytes": entry.bytes,
            "license": entry.license,
            "summary": entry.summary + (" (default)" if entry.name == catalogue.DEFAULT else ""),
            "sha256": entry.sha256,
            "path": str(path),
            "present": files.is_intact(path, entry.bytes, entry.sha256),
            "partial_bytes": part.stat().st_size if part.exists() else 0,
        }
        rows.append(row)
    return rows


def other_rows() -> list[dict[str, Any]]:
    """Return what there is to say about files that came by an `hf:` name or are requantised copies."""
    from firesteel.models import catalogue, files

    known = {entry.file for entry in catalogue.CATALOGUE}
    rows = []
    for path in sorted(files.folder().glob("*.gguf")):
        if path.name in known:
            continue
        stamp = files.read_stamp(path)
        row = {
            "name": path.name,
            "bytes": path.stat().st_size,
            "license": None,
            "summary": "requantised copy" if ".firesteel-" in path.name else "",
            "sha256": stamp.sha256 if stamp else None,
            "path": str(path),
            "present": True,
            "partial_bytes": 0,
        }
        rows.append(row)
    return rows


@app.command("pull")
@reported()
def pull_model(
    name: Name,
    quantize: Annotated[Kind | None, typer.Option(help="Also make a requantised copy and keep it.")] = None,
    as_json: Json = False,
) -> None:
    """Bring a model onto this machine: resumable, verified; a second pull touches nothing."""
    from firesteel.backend.quantize import quantized
    from firesteel.models import files
    from firesteel.models.pull import pull

    with shown_progress() as progress:
        path = pull(name, progress)
        copy = quantized(path, quantize.value, progress) if quantize else None
    if as_json:
        stamp = files.read_stamp(path)
        document = {
            "name": name,
            "path": str(path),
            "bytes": path.stat().st_size,
            "sha256": stamp.sha256 if stamp else None,
            "quantized": str(copy) if copy else None,
        }
        print_json(document)
    else:
        typer.echo(copy or path)


@app.command()
@reported()
def where(name: Name) -> None:
    """Print the path of a model file on this machine."""
    from firesteel.models.pull import resolve

    typer.echo(resolve(name))


@app.command()
@reported()
def remove(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a model's files, its requantised copies too."""
    from firesteel.models import files, pull

    found = pull.removable(name)
    if not found:
        typer.echo(f"nothing of '{name}' is on this machine")
        return
    size = sum(path.stat().st_size for path in found)
    if not yes:
        names = ", ".join(path.name for path in found)
        typer.confirm(f"Delete {names} ({files.megabytes(size)})?", abort=True)
    pull.remove(name)
    typer.echo(f"removed {files.megabytes(size)} from {files.folder()}")
