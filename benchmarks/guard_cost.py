"""What the guard costs a token: thread time, what is held and for how long. Run by `guard.py cost`."""

import argparse
import gc
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from firesteel.guard import Guard, Hold
from firesteel.guard.patterns import automaton
from firesteel.guard.scan import tokens_of

MAX_COST_BYTES = 40_000
PERCENTILES = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999))


def sources(folder: str) -> Iterator[tuple[Path, str]]:
    """Yield the Python files below a folder with their text."""
    for path in sorted(Path(folder).rglob("*.py")):
        yield path, path.read_text(encoding="utf-8", errors="replace")


def spread(values: list[float] | list[int]) -> dict[str, float]:
    ordered = sorted(values)
    if not ordered:
        return {}
    at = {name: ordered[min(len(ordered) - 1, int(len(ordered) * share))] for name, share in PERCENTILES}
    return (
        {"mean": round(statistics.fmean(ordered), 3)}
        | {name: round(each, 3) for name, each in at.items()}
        | {"max": round(ordered[-1], 3)}
    )


def cost(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure thread time of each token, what is held, and the bare automaton beside it."""
    texts = [text for _, text in sources(arguments.paths[0]) if 2_000 < len(text) <= MAX_COST_BYTES][:: arguments.every]
    tokens = [list(tokens_of(text)) for text in texts]
    for each in tokens[:20]:
        fed(each)  # compiles, loads grammars
    gc.collect()
    gc.freeze()
    means, bare = [], []
    for _ in range(arguments.rounds):
        bare.append(timed(bare_scan, tokens))
        means.append(timed(fed, tokens))
    each_token, held = by_token(tokens)
    details = {
        "tokens": len(each_token),
        "characters a token": round(sum(map(len, texts)) / len(each_token), 2),
        "microseconds by token, clock subtracted": spread(each_token),
        "held": held,
        "share of one core at 1,000 tokens/s": round(statistics.median(means) / 1000, 5),
    }
    ceiling = {"value": round(statistics.median(bare), 3), "what": "the Hyperscan stream alone, called from Python"}
    return {"unit": "microseconds a token", "ours": means, "peer": None, "ceiling": ceiling, "details": details}


def fed(tokens: list[str]) -> None:
    guard = Guard("python")
    feed = guard.feed
    for token in tokens:
        feed(token)
    guard.close()


def bare_scan(tokens: list[str]) -> None:
    handler = lambda *arguments: None  # noqa: E731 (the binding keeps no reference)
    with automaton("python").database.stream(match_event_handler=handler) as stream:
        for token in tokens:
            stream.scan(token.encode())


def timed(run: Callable[[list[str]], None], texts: list[list[str]]) -> float:
    """Return the microseconds of thread time that `run` takes for one token."""
    started = time.thread_time_ns()
    for tokens in texts:
        run(tokens)
    return round((time.thread_time_ns() - started) / 1000 / sum(map(len, texts)), 3)


def by_token(texts: list[list[str]]) -> tuple[list[float], dict[str, Any]]:
    """Return each token's microseconds, and how much was held for how long."""
    clock = time.thread_time_ns
    overhead = statistics.median(-(clock() - clock()) for _ in range(2_000))
    spent: list[float] = []
    held, waits, lines, lines_held = 0, [], 0, 0
    for tokens in texts:
        guard, wait, is_line_held = Guard("python", can_rewind=False), 0, False
        for token in tokens:
            started = clock()
            verdict = guard.feed(token)
            spent.append(max(0.0, (clock() - started - overhead) / 1000))
            if isinstance(verdict, Hold):
                held, wait, is_line_held = held + 1, wait + 1, True
            elif wait:
                waits.append(wait)
                wait = 0
            if "\n" in token:
                lines, lines_held, is_line_held = lines + 1, lines_held + is_line_held, False
        guard.finish()
    shares = {"share of tokens": round(held / len(spent), 4), "share of lines": round(lines_held / lines, 4)}
    return spent, shares | {"tokens held at once": spread(waits)}
