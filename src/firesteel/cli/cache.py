"""`firesteel cache`: the KV and the packed weights on disk, shown and cleared; a server may run meanwhile."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from firesteel import config
from firesteel.cli.common import JsonOption, print_json, reported
from firesteel.errors import ConfigError

app = typer.Typer(help="Show and clear the KV and the packed weights that are kept on disk.", rich_markup_mode=None)

UNKNOWN = "unknown"  # a folder whose about.json is missing or damaged


def folder() -> Path:
    """Return the folder of all models' blocks; it may not exist yet."""
    return config.home().absolute() / (config.EngineConfig().disk_folder or "kv")


@app.callback(invoke_without_command=True)
@reported()
def show(context: typer.Context, as_json: JsonOption = False) -> None:
    """Show how much KV is kept on disk for each model, since when it has not been used, and the packed weights."""
    context.obj = as_json
    if context.invoked_subcommand is not None:
        return
    rows = rows_of(stores_by_model())
    num_bytes = sum(row["bytes"] for row in rows)
    if as_json:
        print_json({"folder": str(folder()), "bytes": num_bytes, "models": rows, "packed": packed_copies()})
        return
    from rich.console import Console
    from rich.table import Table

    from firesteel.models.files import megabytes

    if rows:
        table = Table("model", "blocks", "tokens", "size", "last used", box=None, pad_edge=False)
        table.columns[0].overflow = "fold"  # a name is there to be copied
        for row in rows:
            cells = (
                f"{row['blocks']:,}",
                f"{row['tokens']:,}",
                megabytes(row["bytes"]),
                written_time(row["last_used"]),
            )
            table.add_row(row["model"], *cells)
        Console().print(table)
    typer.echo(f"{megabytes(num_bytes)} in {folder()}")
    packed = packed_copies()
    typer.echo(f"{megabytes(packed['bytes'])} of weights packed for own kernels in {packed['folder']}")


def packed_copies() -> dict[str, Any]:
    """Return what the packed weights on disk add up to."""
    from firesteel.backend.native import packed

    copies = [{"name": path.name, "bytes": path.stat().st_size} for path in packed.kept()]
    return {"folder": str(packed.folder()), "bytes": sum(int(str(copy["bytes"])) for copy in copies), "copies": copies}


@app.command()
@reported()
def clear(
    context: typer.Context,
    model: Annotated[str | None, typer.Option(help="Only what is kept for this model, as `cache` names it.")] = None,
    packed: Annotated[
        bool, typer.Option("--packed", help="Delete the packed weights instead; they are made again on demand.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete the KV on disk; a running server computes again what it misses."""
    from firesteel.models.files import megabytes

    if packed:
        clear_packed(yes, as_json or context.obj)
        return
    kept = stores_by_model()
    if model is not None and model not in kept:
        names = f"; kept are: {', '.join(kept)}" if kept else ""
        raise ConfigError(f"`--model`: nothing is kept for '{model}'{names}", param="model")
    stores = [store for name, stores in kept.items() if model in (None, name) for store in stores]
    num_bytes = sum(row["bytes"] for row in rows_of(kept) if model in (None, row["model"]))
    if stores and not yes:
        ask(f"Delete {megabytes(num_bytes)} of {model or 'all models'} in {folder()}?")
    removed = sum(remove(store) for store in stores)
    if as_json or context.obj:
        print_json({"folder": str(folder()), "removed_bytes": removed})
    else:
        typer.echo(f"removed {megabytes(removed)} from {folder()}")


def clear_packed(yes: bool, as_json: bool) -> None:
    """Delete the packed weights. Raises ConfigError where nobody can be asked."""
    from firesteel.backend.native.packed import remove_all
    from firesteel.models.files import megabytes

    found = packed_copies()
    if found["copies"] and not yes:
        ask(f"Delete {megabytes(found['bytes'])} of packed weights in {found['folder']}?")
    removed = remove_all()
    if as_json:
        print_json({"folder": found["folder"], "removed_bytes": removed})
    else:
        typer.echo(f"removed {megabytes(removed)} from {found['folder']}")


def ask(question: str) -> None:
    """Ask on the terminal and abort unless the answer is yes. Raises ConfigError where nobody can answer."""
    if not sys.stdin.isatty():
        raise ConfigError("there is no terminal to ask on: add --yes to delete")
    typer.confirm(question, abort=True, err=True)


def stores_by_model() -> dict[str, list[Path]]:
    """Return the folders of each model; one model has a folder for each of its settings."""
    from firesteel.engine.kv import file

    found: dict[str, list[Path]] = {}
    for store in file.stores(folder()):
        found.setdefault(file.about(store).model or UNKNOWN, []).append(store)
    return dict(sorted(found.items()))


def rows_of(kept: dict[str, list[Path]]) -> list[dict[str, Any]]:
    """Return what there is to say about each model."""
    return [row_of(model, stores) for model, stores in kept.items()]


def row_of(model: str, stores: Iterable[Path]) -> dict[str, Any]:
    """Return what the files of a model add up to; blocks of another version count without their tokens."""
    from firesteel.engine.kv import file

    row: dict[str, Any] = {"model": model, "blocks": 0, "tokens": 0, "bytes": 0, "last_used": None}
    for path, status in (found for store in stores for found in file.files(store)):
        row["bytes"] += status.st_size
        if file.BLOCK_NAME.fullmatch(path.name):
            row["blocks"] += 1
            row["tokens"] += num_tokens(path)
            row["last_used"] = max(row["last_used"] or 0.0, status.st_mtime)
    return row


def num_tokens(path: Path) -> int:
    """Return the number of tokens of a block, 0 for one that cannot be read."""
    from firesteel.engine.kv import file

    try:
        return len(file.read_header(path).tokens) // 4
    except (file.Damaged, OSError):
        return 0


def written_time(seconds: float | None) -> str:
    """Return a time as people write it."""
    from datetime import datetime

    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M") if seconds else "never"


def remove(store: Path) -> int:
    """Delete the files of one store and return their size; what a server writes at this moment may stay.

    Raises ConfigError when a file cannot be deleted.
    """
    from firesteel.engine.kv import file

    removed = 0
    for path, status in file.files(store):
        if not file.is_ours(path.name):
            continue
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise ConfigError(f"{path} cannot be deleted: {error.strerror}") from None
        removed += status.st_size
    file.remove_if_empty(store)
    return removed
