"""What `bench step` says: times beside the peers', the bytes that must be read, and the sums that must be made."""

from collections.abc import Sequence
from statistics import median
from typing import Any

import msgspec

from firesteel import machine
from firesteel.bench import roofline
from firesteel.bench.report import Measurement
from firesteel.bench.roofline import Ceiling
from firesteel.bench.step_child import Child
from firesteel.bench.subject import Subject

OURS = "ours"
BANDWIDTH_RUNS, MATRIX_RUNS = 4, 2


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison: seconds of each side, pair by pair; ours comes first."""

    history: int
    rows: int
    is_prefill: bool
    seconds: dict[str, list[float]]
    bytes_read: int | None = None  # of a step of ours, where the backend counts

    @property
    def peers(self) -> list[str]:
        """The sides beside ours."""
        return [side for side in self.seconds if side != OURS]

    @property
    def typical(self) -> float:
        """The median of our seconds."""
        return median(self.seconds[OURS])

    def times_faster(self, peer: str) -> tuple[float, float]:
        """Return how many times faster than `peer` we are: by the medians, and as the median of the pairs."""
        ours, theirs = self.seconds[OURS], self.seconds[peer]
        return median(theirs) / median(ours), median(b / a for a, b in zip(ours, theirs, strict=True))


class Limits:
    """What the machine allows, measured while the sides stand still. No limits without a model file."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._bandwidth: dict[int, float] = {}  # by history; the best seen
        header = subject.header
        self._rate = 0.0  # multiply-adds a second; the best seen
        self._layers = roofline.multiply_adds_per_token(header) if header is not None else 0
        self._head = roofline.head_multiply_adds(header) if header is not None else 0
        self._attention = roofline.attention_multiply_adds(header) if header is not None else 0

    @property
    def is_known(self) -> bool:
        """Whether there is a model whose bytes can be counted."""
        return self._subject.header is not None

    def bytes_of(self, history: int) -> int:
        """Return the bytes that a step must read: all weights once, and the KV of the history."""
        return self._subject.weight_bytes + int(history * self._subject.kv_bytes_per_token)

    def observe(self, history: int) -> None:
        """Measure the arithmetic, and the bandwidth of reading what a step at `history` reads."""
        if self.is_known:
            size, threads = self.bytes_of(history), self._subject.num_threads
            found = machine.read_bandwidth(threads, size=size, runs=BANDWIDTH_RUNS)
            self._bandwidth[history] = max(found, self._bandwidth.get(history, 0.0))
            self._rate = max(machine.matrix_rate(runs=MATRIX_RUNS), self._rate)

    def reading(self, cell: Cell) -> float:
        """Return the seconds that reading what a step reads takes at least."""
        return (cell.bytes_read or self.bytes_of(cell.history)) / self._bandwidth[cell.history]

    def multiply_adds(self, cell: Cell) -> int:
        """Return the multiply-adds of a cell: layers, attention over what stands before, a head for what is wanted."""
        if cell.is_prefill:
            attended = cell.rows * cell.history + cell.rows * (cell.rows + 1) // 2
            return cell.rows * self._layers + attended * self._attention + self._head
        return cell.rows * (self._layers + self._head + cell.history * self._attention)

    def summing(self, cell: Cell) -> float:
        """Return the seconds that they take at the rate of float32; kernels on 8-bit integers may pass it."""
        return self.multiply_adds(cell) / self._rate

    def described(self) -> dict[str, Any]:
        """Return the machine's figures."""
        if not self.is_known:
            return {}
        at = {f"at_{self.bytes_of(history) / 1e6:.0f}_mb": rate / 1e9 for history, rate in self._bandwidth.items()}
        return {"read_gb_s": at, "float32_gmac_s": self._rate / 1e9}


def summary(cells: Sequence[Cell], limits: Limits, sides: Sequence[Child]) -> Measurement:
    """Return the report's part: the values of the first cell of a step, the rest in tables."""
    few = [cell for cell in cells if not cell.is_prefill]
    first = few[0]
    peer = next(iter(first.peers), None)
    tables = {
        "steps": [step_row(cell, limits) for cell in few],
        "prefill_tokens_a_second": [prefill_row(cell, limits) for cell in cells if cell.is_prefill],
        "times_faster": [ratio_row(cell) for cell in cells if cell.peers],
    }
    abouts = {side.side: f"{side.about.name}, chunks of {side.about.chunk_rows}" for side in sides}
    versions = {f"{side.side}_is": side.about.version for side in sides}
    details = {"sides": abouts} | versions | limits.described()
    details |= {name: rows for name, rows in tables.items() if rows}
    return Measurement(
        workload=f"step of {first.rows} rows at {first.history} tokens of history",
        unit="ms",
        ours=[seconds * 1e3 for seconds in first.seconds[OURS]],
        theirs=[seconds * 1e3 for seconds in first.seconds[peer]] if peer is not None else [],
        ceiling=floor(first, limits),
        details={"sides": abouts}
        | versions
        | limits.described()
        | {name: rows for name, rows in tables.items() if rows},
        peer=peer or "",
    )


def floor(cell: Cell, limits: Limits) -> Ceiling:
    """Return the milliseconds that reading takes at least."""
    if not limits.is_known:
        return Ceiling(cell.typical * 1e3, "no weights: our own code alone")
    read = cell.bytes_read or limits.bytes_of(cell.history)
    seconds = limits.reading(cell)
    counted = "counted" if cell.bytes_read else "weights and KV"
    return Ceiling(seconds * 1e3, f"{read / 1e6:.0f} MB ({counted}) at {read / seconds / 1e9:.1f} GB/s")


def step_row(cell: Cell, limits: Limits) -> dict[str, Any]:
    """Return one row of the table of steps: milliseconds of every side, and our shares of the ceilings."""
    row: dict[str, Any] = {"history": cell.history, "rows": cell.rows, "ours_ms": cell.typical * 1e3}
    if limits.is_known:
        row |= {
            "of_bandwidth": limits.reading(cell) / cell.typical,
            "of_arithmetic": limits.summing(cell) / cell.typical,
        }
    return row | {f"{peer}_ms": median(cell.seconds[peer]) * 1e3 for peer in cell.peers}


def prefill_row(cell: Cell, limits: Limits) -> dict[str, Any]:
    """Return one row of the table of prefills, in tokens a second."""
    row: dict[str, Any] = {"tokens": tokens_of(cell), "ours": cell.rows / cell.typical}
    if limits.is_known:
        row["of_arithmetic"] = limits.summing(cell) / cell.typical
    return row | {peer: cell.rows / median(cell.seconds[peer]) for peer in cell.peers}


def ratio_row(cell: Cell) -> dict[str, Any]:
    """Return how many times faster than each peer we are: by the medians, and as the median of the pairs."""
    row: dict[str, Any] = {"step": tokens_of(cell) if cell.is_prefill else f"{cell.rows} rows at {cell.history}"}
    for peer in cell.peers:
        row[f"than_{peer}"], row[f"than_{peer}_in_pairs"] = cell.times_faster(peer)
    return row


def tokens_of(cell: Cell) -> str:
    """Return the span of a prefill."""
    return f"{cell.history}-{cell.history + cell.rows}"
