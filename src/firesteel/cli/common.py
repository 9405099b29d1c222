"""What the commands share: options, errors, progress."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from firesteel.cli.options import option
from firesteel.config import BackendName, EngineConfig
from firesteel.errors import FiresteelError

if TYPE_CHECKING:
    from firesteel.models.files import Progress

PLAIN_SECONDS = 5.0  # between two lines of progress where there is no terminal
DEFAULT_MODEL = "qwen2.5-coder-0.5b"

# What these say and allow stands in the table of settings, for every command alike.
ModelOption = Annotated[str, option("model")]
BackendOption = Annotated[BackendName, option("backend")]
ScriptOption = Annotated[str | None, option("script")]
QuantizeOption = Annotated[Literal["q4_0", "q8_0"] | None, option("quantize")]
ThreadsOption = Annotated[int | None, option("threads")]
ContextOption = Annotated[int | None, option("context")]
DiskCacheOption = Annotated[int, option("disk_cache")]
KvTypeOption = Annotated[Literal["f16", "q8_0"], option("kv_type")]
YarnOption = Annotated[float | None, option("yarn")]
SystemOption = Annotated[str | None, typer.Option(help="A system message that goes before the conversation.")]
MaxTokensOption = Annotated[
    int | None, typer.Option(min=1, help="Tokens of one answer at most.", show_default="what fits")
]
TemperatureOption = Annotated[
    float | None, typer.Option(min=0, max=2, help="0 is greedy.", show_default="the model's own, else 0.2")
]
SeedOption = Annotated[int | None, typer.Option(help="Makes sampling repeatable.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


def engine_config(
    model: str,
    backend: BackendName,
    script: str | None,
    quantize: Literal["q4_0", "q8_0"] | None,
    threads: int | None,
    context: int | None,
    kv_type: Literal["f16", "q8_0"],
    yarn: float | None,
    **others: Any,
) -> EngineConfig:
    """Return what the options say that every command with a model takes, in this order; `others` are fields."""
    return EngineConfig(
        backend=backend,
        model=model,
        script=script,
        quantize=quantize,
        num_threads=threads,
        context_tokens=context,
        kv_type=kv_type,
        yarn=yarn,
        **others,
    )


@contextmanager
def reported(status: int = 1) -> Iterator[None]:
    """Turn our errors into one message on stderr and exit `status`, Ctrl-C into exit status 130."""
    try:
        yield
    except FiresteelError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(status) from None
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        raise typer.Exit(130) from None


def ensure_model(config: EngineConfig) -> None:
    """Pull the configured model, and make its requantised copy and its packed weights, unless they are here.

    Raises ModelError, and ConfigError for what the model does not document.
    """
    if config.backend == "scripted":
        return
    from firesteel.backend import prepare

    with shown_progress() as progress:
        fetch(config, progress)
        prepare(config, progress)


def is_local(config: EngineConfig) -> bool:
    """Return whether the configured model needs no pull: it is a file, or none is needed."""
    return config.backend == "scripted" or os.path.exists(config.model)


def fetch(config: EngineConfig, progress: "Progress") -> None:
    """Do what `ensure_model` does, and let `progress` show it. Raises ModelError."""
    if is_local(config):
        return
    from firesteel.backend.quantize import quantized
    from firesteel.models.pull import pull

    path = pull(config.model, progress)
    if config.quantize is not None:
        quantized(path, config.quantize, progress)


def print_json(value: object) -> None:
    """Print one JSON document on stdout."""
    import msgspec

    typer.echo(msgspec.json.format(msgspec.json.encode(value)).decode())


@contextmanager
def shown_progress() -> "Iterator[Progress]":
    """Yield a progress callback that draws a bar on stderr, or plain lines where that is no terminal."""
    try:
        with _bar_or_lines() as progress:
            yield progress
    except KeyboardInterrupt:
        typer.echo("what was pulled so far is kept; the next pull goes on from there", err=True)
        raise


@contextmanager
def _bar_or_lines() -> "Iterator[Progress]":
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    if not console.is_terminal:
        yield plain_progress()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Bar(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("", total=None)

        def show(done: int, total: int, label: str) -> None:
            if done < bar.tasks[0].completed:
                bar.reset(task)  # another phase begins: its speed is its own
            bar.update(task, completed=done, total=total or None, description=label)

        yield show


def plain_progress() -> "Progress":
    """Return a progress callback that prints a line now and then, and when another phase begins."""
    shown: tuple[str, float] = ("", 0.0)

    def show(done: int, total: int, label: str) -> None:
        nonlocal shown
        now = time.monotonic()
        if label == shown[0] and now - shown[1] < PLAIN_SECONDS:
            return
        shown = (label, now)
        share = f": {done / 1e6:.0f} of {total / 1e6:.0f} MB" if total else ""
        typer.echo(f"{label}{share}", err=True)

    return show
