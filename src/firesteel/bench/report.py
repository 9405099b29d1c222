"""The result of a benchmark: a table for people, one JSON document for programs, a file for the record."""

import re
from datetime import date
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import msgspec

from firesteel.bench.options import Kind
from firesteel.bench.roofline import Ceiling
from firesteel.machine import Machine

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

RESULTS = Path("benchmarks/results")


class Peer(msgspec.Struct, frozen=True):
    """What the server beside ours reached, value by value in the order of `Report.ours`."""

    name: str
    values: list[float]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The benchmark document of DESIGN.md. `ratio_median`: median of the pairwise ratios ours ÷ peer."""

    kind: Kind
    workload: str
    model: str
    model_sha256: str | None
    machine: Machine
    unit: str
    ours: list[float]
    peer: Peer | None
    ratio_median: float | None
    ceiling: Ceiling
    details: dict[str, Any]


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """What a kind found out: the part of the report that is its own. `theirs` is empty without a peer.

    `peer`: who that was, where it is not the server that `bench.peer` describes.
    """

    workload: str
    unit: str
    ours: list[float]
    theirs: list[float]
    ceiling: Ceiling
    details: dict[str, Any]
    peer: str = ""


def ratio_median(ours: list[float], peer: Peer | None) -> float | None:
    """Return the median of ours ÷ peer, pair by pair, so that a slow spell of the machine cancels out."""
    if peer is None:
        return None
    return median(mine / other for mine, other in zip(ours, peer.values, strict=True))


def percentile(values: list[float], percent: float) -> float:
    """Return the nearest-rank percentile: the smallest value that `percent` of all do not exceed."""
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)  # the ceiling
    return ordered[max(0, int(rank) - 1)]


def encode(report: Report) -> str:
    """Return the report as one line of JSON."""
    return msgspec.json.encode(report).decode()


def save(report: Report, folder: Path = RESULTS) -> Path:
    """Write the report to `folder` and return the path: kind, model, date and machine make the name."""
    machine = f"{report.machine.processor} {report.machine.num_cores}-core"
    name = f"{report.kind} {report.model} {date.today().isoformat()} {machine}".lower()
    path = folder / (re.sub(r"[^a-z0-9.]+", "-", name).strip("-") + ".json")
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    return path


def table(report: Report) -> "Group":
    """Return the report for people: a table, and one more for each detail that is itself a table."""
    from rich.console import Group

    inner = [_details_table(name, value) for name, value in report.details.items() if is_table(value)]
    return Group(_main_table(report), *inner)


def _main_table(report: Report) -> "Table":
    from rich.table import Table

    rows = Table(title=f"{report.kind} · {report.workload} · {report.model}", show_header=False)
    rows.add_row("ours", f"{median(report.ours):,.{digits(report)}f} {report.unit} (median of {len(report.ours)})")
    if report.peer is not None:
        rows.add_row(report.peer.name, f"{median(report.peer.values):,.{digits(report)}f} {report.unit}")
        rows.add_row("ratio", f"{report.ratio_median:.3f} (median of pairs)")
    name = "ceiling" if is_rate(report) else "floor"
    rows.add_row(name, f"{report.ceiling.value:,.{digits(report)}f} {report.unit}: {report.ceiling.what}")
    rows.add_row("reached", reached(report))
    for name, value in report.details.items():
        if not is_table(value):
            rows.add_row(name.replace("_", " "), written(value))
    return rows


def is_rate(report: Report) -> bool:
    """Return whether more is better, so that the limit is a ceiling; of times and counts it is a floor."""
    return report.unit.endswith("/s")


def digits(report: Report) -> int:
    """Return how many decimals a value needs: factors more than others."""
    return 3 if report.unit.startswith("×") else 1


def reached(report: Report) -> str:
    """Return how far the median is from what the physics allows."""
    ours, limit = median(report.ours), report.ceiling.value
    return f"{ours / limit:.0%} of the ceiling" if is_rate(report) else f"{ours / limit:.2f} × the floor"


def is_table(value: object) -> bool:
    """Return whether a detail is a list of rows."""
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _details_table(name: str, rows: list[dict[str, Any]]) -> "Table":
    from rich.table import Table

    table = Table(title=name.replace("_", " "), box=None)
    for column in rows[0]:
        table.add_column(column.replace("_", " "), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*map(written, row.values()))
    return table


def written(value: object) -> str:
    """Return a detail as people read it."""
    if isinstance(value, float):
        return f"{value:,.4g}" if value < 100 else f"{value:,.0f}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {written(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return ", ".join(written(inner) for inner in value)
    return str(value)
