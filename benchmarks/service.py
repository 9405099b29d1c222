"""What keys, limits, ledger and fair queue cost and give, on the scripted backend.

    .venv/bin/python benchmarks/service.py [--seconds 10] [--redis redis://127.0.0.1:6379/0] [--save]

Ends in one JSON line: `ours` is short requests a second with keys, limits and ledger on; the rest is in `details`.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from service_client import Crowd, pairs, seconds_of, time_to_first_text

from firesteel import machine
from firesteel.bench import servers
from firesteel.bench.report import Report, percentile, save
from firesteel.bench.roofline import Ceiling
from firesteel.config import ServerConfig
from firesteel.service.desk import Desk, open_desk
from firesteel.service.key_file import KeyFile
from firesteel.service.keyring import Keyring
from firesteel.types import Request, Sampling, TextPrompt, Usage

TURN_TOKENS, TURN_MS = 20, 10  # a request of the fairness run takes their product
NUM_GREEDY = 100
ROUNDS = 5
LIMITS = ("--requests-per-minute", "1000000", "--tokens-per-minute", "1000000000")
SCRIPT = {"rules": [{"match": "^turn", "step_ms": TURN_MS}, {"match": "", "say": "ok"}]}


def summary(seconds: Sequence[float]) -> dict[str, float]:
    return {f"p{p}": round(percentile(list(seconds), p) * 1e3, 4) for p in (50, 90, 99)}


@contextmanager
def server(folder: Path, *arguments: str) -> Iterator[servers.Server]:
    script = folder / "script.json"
    script.write_text(json.dumps(SCRIPT))
    port = servers.free_port()
    command = ["--backend", "scripted", "--script", str(script), "--drafters", "none", *arguments]
    with servers.running(servers.serve_command(port, command), port) as running:
        yield running


def keys(folder: Path, *names: str) -> tuple[Path, list[str]]:
    path = folder / "keys.json"
    path.unlink(missing_ok=True)
    return path, [KeyFile(path).create(name)[1] for name in names]


async def in_process(folder: Path, store: str | None) -> dict[str, float]:
    """Return what a request costs in auth, limits and ledger alone, in milliseconds."""
    path, (key,) = keys(folder, "anna")
    ring = Keyring(KeyFile(path))
    extra = {"limit_store": store} if store else {}
    settings = ServerConfig(
        ledger=str(folder / "cost.db"), requests_per_minute=10**7, tokens_per_minute=10**10, **extra
    )
    desk = open_desk(settings)
    request = Request(
        id="r", kind="chat", model="m", prompts=(TextPrompt(text="x"),), sampling=Sampling(), max_tokens=16
    )
    taken = []
    for number in range(3000):
        began = time.perf_counter()
        await one(desk, ring, key, request)
        taken.append(time.perf_counter() - began)
        if number % 50 == 0:
            await asyncio.sleep(0.01)  # as the ledger's writer would have time to work
    await desk.close()
    return summary(taken)


async def one(desk: Desk, ring: Keyring, key: str, request: Request) -> None:
    caller = ring.identify({"authorization": f"Bearer {key}"})
    caller.check("generate")
    visit = desk.visit(caller, "chat", "r")
    await visit.enter(request, "m", 200, 4096)
    visit.headers()
    visit.started()
    visit.spoke()
    visit.ended(Usage(num_prompt_tokens=30, num_cached_tokens=3, num_output_tokens=16))
    visit.close(200)


def end_to_end(folder: Path, seconds: float) -> dict[str, Any]:
    """Ask a bare server and a full one in turns, so that both meet the same noise."""
    path, (key,) = keys(folder, "anna")
    full_arguments = ("--keys", str(path), "--ledger", str(folder / "ledger.db"), *LIMITS)
    with server(folder) as bare, server(folder, *full_arguments) as full:
        bare_seconds, full_seconds = pairs((bare.port, ""), (full.port, key), seconds)
        rates = [Crowd(full.port, key, 32).run(seconds) for _ in range(3)]
        bare_rates = [Crowd(bare.port, "", 32).run(seconds) for _ in range(3)]
    difference = [f - b for f, b in zip(full_seconds, bare_seconds, strict=True)]
    return {
        "rates": rates,
        "bare_rates": bare_rates,
        "request_ms": {"bare": summary(bare_seconds), "full": summary(full_seconds)},
        "added_ms_p50": round(statistics.median(difference) * 1e3, 4),
    }


def scrapes(folder: Path) -> dict[str, float]:
    with server(folder) as running:
        Crowd(running.port, "", 16).run(1.0)
        return summary([seconds_of(lambda: running.get("/metrics")) for _ in range(300)])


def fairness(folder: Path) -> dict[str, Any]:
    """Let one key queue a hundred requests, then let another one ask."""
    path, (greedy, other) = keys(folder, "greedy", "other")
    arguments = ("--keys", str(path), "--max-live", "1", "--max-queue", "200", "--ledger", "none")
    found: dict[str, list[float]] = {"alone": [], "beside_100_of_another_key": [], "behind_100_of_its_own": []}
    with server(folder, *arguments) as running:
        ask = lambda key: time_to_first_text(running.port, key, "turn", TURN_TOKENS)  # noqa: E731
        found["alone"] = [ask(other) for _ in range(ROUNDS)]
        for _ in range(ROUNDS):
            with Crowd(running.port, greedy, NUM_GREEDY, "turn", TURN_TOKENS).asking(0.3):
                found["beside_100_of_another_key"].append(ask(other))
            time.sleep(0.5)
        with Crowd(running.port, greedy, NUM_GREEDY, "turn", TURN_TOKENS).asking(0.3):
            found["behind_100_of_its_own"].append(ask(greedy))
    return {"one_turn_ms": TURN_TOKENS * TURN_MS, **{name: summary(values) for name, values in found.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--redis", help="measure limits in this Redis, too")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    load = machine.load_average()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cost = {"memory_and_sqlite": asyncio.run(in_process(folder, None))}
        if options.redis:
            cost["redis_and_sqlite"] = asyncio.run(in_process(folder, options.redis))
        whole = end_to_end(folder, options.seconds)
        scrape, fair = scrapes(folder), fairness(folder)
    report = Report(
        kind="service",
        workload="short requests over 32 connections, with key, limits and ledger",
        model="scripted",
        model_sha256=None,
        machine=machine.describe(),
        unit="requests/s",
        ours=whole.pop("rates"),
        peer=None,
        ratio_median=None,
        ceiling=Ceiling(statistics.median(whole["bare_rates"]), "the same without key, limits and ledger"),
        details={
            "load_average_before": load,
            "cost_of_auth_limits_ledger_ms": cost,
            "scrape_ms": scrape,
            "ttft_ms_fairness": fair,
            **whole,
        },
    )
    if options.save:
        print(save(report), file=sys.stderr)
    print(msgspec.json.encode(report).decode())


if __name__ == "__main__":
    main()
