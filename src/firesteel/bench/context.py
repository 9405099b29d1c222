"""Memory and step time as functions of the history, up to 128k tokens, with the cache filled by copies.

Hours of prefill are not needed to time a step: it does the same arithmetic on the same bytes whatever the KV
says (`bench.bare`). Floor of a step of one row: all weights and the whole history's KV read once, at the
bandwidth of the memory as measured just before.
"""

from collections.abc import Iterable
from statistics import median
from typing import Any, Literal

import msgspec

from firesteel import machine
from firesteel.bench import bare, end_to_end
from firesteel.bench.bare import Bare
from firesteel.bench.options import Options
from firesteel.bench.progress import Step, steps
from firesteel.bench.report import Measurement
from firesteel.bench.roofline import Ceiling
from firesteel.bench.servers import resident_bytes
from firesteel.bench.subject import Subject

HISTORIES = (1_024, 4_096, 8_192, 16_384, 32_768, 65_536, 131_072)
ROWS = (1, 2, 8, 16, 64)
MAX_ROWS = max(ROWS)
RUNS = 5
SLOW_SECONDS = 2.0  # of one step; then `SLOW_RUNS` must do
SLOW_RUNS = 2
MB = 1e6


class AtHistory(msgspec.Struct, frozen=True):
    """What was measured at one history; `seconds` by rows of a step."""

    history: int
    yarn: float | None
    seconds: dict[int, list[float]]
    resident: int
    predicted: int
    floor: float


def measure(options: Options, subject: Subject) -> Measurement:
    """Time steps at each history. Raises `ConfigError` when the model or the memory does not allow one."""
    if options.end_to_end:
        return end_to_end.measure(options, subject)
    histories = sorted(options.tokens or HISTORIES)
    bandwidth = machine.read_bandwidth(subject.num_threads)
    trained = subject.trained_context
    plain = [history for history in histories if history <= trained]
    stretched = [history for history in histories if history > trained]
    with steps(len(histories)) as step:
        found = [*at(subject, plain, None, options.kv_type, bandwidth, step)]
        if stretched:
            found += at(subject, stretched, -(-stretched[-1] // trained), options.kv_type, bandwidth, step)
    return summary(found, bandwidth, options)


def at(
    subject: Subject,
    histories: list[int],
    yarn: float | None,
    kv_type: Literal["f16", "q8_0"],
    bandwidth: float,
    step: Step,
) -> Iterable[AtHistory]:
    """Yield what was measured at each history, in one context that the longest one, new rows included, just fills.

    A history that is the model's whole context is measured `MAX_ROWS` tokens before its end.
    """
    if not histories:
        return
    settings: dict[str, Any] = {
        "kv_type": kv_type,
        "yarn": yarn,
        "chunk_tokens": MAX_ROWS,
        "max_live": 1,
        "cache_bytes": 0,
    }
    context = min(histories[-1] + MAX_ROWS, int(subject.trained_context * (yarn or 1)))
    predicted = subject.predicted_bytes(context_tokens=context, **settings)
    with bare.opened(subject, context, **settings) as one:
        for history in histories:
            step(f"{history:,} tokens of history")
            length = min(history, context - MAX_ROWS)
            one.fill(length)
            seconds = {rows: timed(one, rows) for rows in ROWS}
            read = subject.weight_bytes + length * subject.kv_bytes_of(kv_type)
            yield AtHistory(length, yarn, seconds, resident_bytes(), predicted, read / bandwidth)


def timed(one: Bare, rows: int) -> list[float]:
    """Return the times of a few steps of `rows` rows, fewer when they are slow."""
    seconds = [one.step(rows)]
    while len(seconds) < (SLOW_RUNS if seconds[0] > SLOW_SECONDS else RUNS):
        seconds.append(one.step(rows))
    return seconds


def summary(found: list[AtHistory], bandwidth: float, options: Options) -> Measurement:
    """Return the step of one row at the longest history, and a row for each history."""
    longest = found[-1]
    return Measurement(
        workload=f"step of one row at {longest.history} tokens of history, {options.kv_type} KV",
        unit="ms",
        ours=[seconds * 1e3 for seconds in longest.seconds[1]],
        theirs=[],
        ceiling=Ceiling(longest.floor * 1e3, f"weights and KV read once at {bandwidth / 1e9:.1f} GB/s"),
        details={"by_history_ms": [row(one) for one in found]},
    )


def row(one: AtHistory) -> dict[str, Any]:
    """Return the medians at one history, in milliseconds, and the memory in megabytes."""
    times = {"1_row" if rows == 1 else f"{rows}_rows": median(seconds) * 1e3 for rows, seconds in one.seconds.items()}
    return {
        "history": one.history,
        "yarn": one.yarn or 1,
        **times,
        "floor": one.floor * 1e3,
        "rss_mb": one.resident / MB,
        "predicted_mb": one.predicted / MB,
    }
