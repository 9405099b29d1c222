"""`firesteel bench`: how fast this is, beside a stock llama.cpp server and beside what the machine allows."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from firesteel.errors import ConfigError

if TYPE_CHECKING:
    from firesteel.bench.report import Report


Kind = Literal["decode", "prefill", "pipeline"]
PeerName = Literal["llama-server"]
Quantization = Literal["q4_0", "q8_0"]

DEFAULT_PAIRS = 5
MODEL_OPTIONS = "--model, --vs and --quantize"


def bench(
    kind: Annotated[
        Kind,
        typer.Argument(
            help="decode: tokens a second of a greedy answer. prefill: prompt tokens a second up to the "
            "first token. pipeline: everything but the model, on the scripted backend."
        ),
    ],
    model: Annotated[str | None, typer.Option(help="A model's name or path.", show_default="the default model")] = None,
    vs: Annotated[
        PeerName | None, typer.Option(help="Measure this server too, on the same file, in alternation.")
    ] = None,
    pairs: Annotated[int, typer.Option(min=1, help="How many times to ask each server.")] = DEFAULT_PAIRS,
    tokens: Annotated[
        int | None,
        typer.Option(min=2, help="Tokens to decode, or of the prompt.", show_default="the workload's"),
    ] = None,
    quantize: Annotated[
        Quantization | None, typer.Option(help="Requantise the model first; both servers get the result.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document as the last line.")] = False,
    save: Annotated[bool, typer.Option("--save", help="Keep the document in benchmarks/results.")] = False,
) -> None:
    """Measure speed over HTTP, with the ceiling that the machine sets."""
    if kind == "pipeline":
        if model or vs or quantize:
            raise ConfigError(f"bench pipeline runs without a model: leave {MODEL_OPTIONS} out")
        report = measure_pipeline(pairs, tokens)
    else:
        report = measure_model(kind, model, vs, pairs, tokens, quantize)
    show(report, json=json, save=save)


def measure_pipeline(pairs: int, tokens: int | None) -> "Report":
    """Return the report of the scripted backend behind the whole server."""
    from firesteel.bench import pipeline

    return pipeline.run(pairs, tokens)


def measure_model(
    kind: Literal["decode", "prefill"],
    model: str | None,
    vs: PeerName | None,
    pairs: int,
    tokens: int | None,
    quantize: Quantization | None,
) -> "Report":
    """Return the report of a real model."""
    from firesteel.bench import compare
    from firesteel.models import catalogue

    options = compare.Options(
        kind=kind,
        model=model or catalogue.DEFAULT,
        pairs=pairs,
        num_tokens=tokens,
        with_peer=vs is not None,
        quantize=quantize,
    )
    return compare.run(options)


def show(report: "Report", *, json: bool, save: bool) -> None:
    """Print the table, say where the file went, and end with the JSON document where it was asked for."""
    from rich.console import Console

    from firesteel.bench import report as reports

    console = Console()
    console.print(reports.table(report))
    if save:
        console.print(f"saved to {reports.save(report)}", highlight=False)
    if json:
        typer.echo(reports.encode(report))
