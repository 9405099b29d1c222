"""The result of a benchmark: a table for people, one JSON document for programs, a file for the record."""

import re
from datetime import date
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from firesteel.bench.roofline import Ceiling
from firesteel.machine import Machine

if TYPE_CHECKING:
    from rich.table import Table

Kind = Literal["decode", "prefill", "pipeline"]
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
    """Write the report to `folder` and return the path: kind, date and machine make the name."""
    machine = re.sub(r"[^a-z0-9]+", "-", f"{report.machine.processor} {report.machine.num_cores}-core".lower()).strip(
        "-"
    )
    path = folder / f"{report.kind}-{date.today().isoformat()}-{machine}.json"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    return path


def table(report: Report) -> "Table":
    """Return the report as a table for people."""
    from rich.table import Table

    rows = Table(title=f"{report.kind} · {report.workload} · {report.model}", show_header=False)
    ours = median(report.ours)
    rows.add_row("ours", f"{ours:,.1f} {report.unit} (median of {len(report.ours)})")
    if report.peer is not None:
        rows.add_row(report.peer.name, f"{median(report.peer.values):,.1f} {report.unit}")
        rows.add_row("ratio", f"{report.ratio_median:.3f} (median of pairs)")
    rows.add_row("ceiling", f"{report.ceiling.value:,.1f} {report.unit}: {report.ceiling.what}")
    rows.add_row("reached", f"{ours / report.ceiling.value:.0%} of the ceiling")
    for name, value in report.details.items():
        rows.add_row(name.replace("_", " "), written(value))
    return rows


def written(value: object) -> str:
    """Return a detail as people read it."""
    if isinstance(value, float):
        return f"{value:,.4g}" if value < 100 else f"{value:,.0f}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {written(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return ", ".join(written(inner) for inner in value)
    return str(value)
