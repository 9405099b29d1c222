"""Mixed load for a long time: memory must stay flat, and no error may come that was not asked for.

    .venv/bin/python benchmarks/soak.py --minutes 60 [--rate 6] [--save FILE.json]

The gateway and its engine run on the scripted backend, on loopback. What is bounded (caches, indexes, logs of
what was said) is given small bounds, so that it is full in the first quarter; after that, growth is a leak. RSS is read
every few seconds from both processes; flat means that the median of the last eighth is within 5 % of the median of the
second quarter. Ends in one JSON line; exit status 1 when memory grew or an error came.
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import msgspec
import psutil
from prometheus_client.parser import text_string_to_metric_families
from soak_clients import Unexpected, Visitor, visit

from firesteel import machine
from firesteel.bench.servers import free_port

SAMPLE_SECONDS = 5.0
MAX_GROWTH = 0.05
KEY = "soak-key"
NUM_VISITORS = 12
SERVE = ("serve", "--backend", "scripted", "--cache-mb", "2", "--disk-cache", "8", "--max-body-mb", "1")
SETTLED = ("num_running", "num_waiting", "num_cells_leased")


@contextmanager
def server(folder: Path) -> Iterator[tuple[psutil.Process, int]]:
    """Run `firesteel serve` in `folder`; yield its process and port."""
    port = free_port()
    script = folder / "script.json"
    script.write_text(json.dumps({"step_ms": 1, "tokens_per_step": 2}))
    line = [sys.executable, "-m", "firesteel", *SERVE, "--port", str(port), "--script", str(script)]
    environment = os.environ | {"FIRESTEEL_HOME": str(folder), "FIRESTEEL_API_KEY": KEY, "FIRESTEEL_OFFLINE": "1"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(line, stdout=log, stderr=log, env=environment)
    try:
        yield psutil.Process(process.pid), port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
        print((folder / "log").read_text()[-2000:], file=sys.stderr)


class Soak:
    """What was done, what went wrong, and how large the processes were meanwhile."""

    def __init__(self, gateway: psutil.Process, port: int, seconds: float, rate: float) -> None:
        self.gateway = gateway
        self.port = port
        self.seconds = seconds
        self.rate = rate
        self.done: Counter[str] = Counter()
        self.errors: list[str] = []
        self.samples: list[dict[str, float]] = []
        self.started = time.monotonic()

    async def run(self) -> dict[str, float]:
        """Load the server until the time is over; return what the engine still holds then."""
        headers = {"authorization": f"Bearer {KEY}"}
        limits = httpx.Limits(max_connections=64, max_keepalive_connections=16)
        base = f"http://127.0.0.1:{self.port}"
        async with httpx.AsyncClient(
            base_url=base, headers=headers, timeout=60, trust_env=False, limits=limits
        ) as http:
            await ready(http)
            self.started = time.monotonic()
            sampling = asyncio.create_task(self._sample())
            visitors = [Visitor(http, self.port, KEY, seed) for seed in range(NUM_VISITORS)]
            await asyncio.gather(*map(self._visits, visitors))
            sampling.cancel()
            await asyncio.sleep(2)
            return await held(http)

    async def _visits(self, visitor: Visitor) -> None:
        pause = NUM_VISITORS / self.rate
        while time.monotonic() - self.started < self.seconds:
            try:
                self.done[await visit(visitor)] += 1
            except (Unexpected, httpx.HTTPError, OSError, KeyError, ValueError) as error:
                self.errors.append(f"{time.monotonic() - self.started:.0f} s: {type(error).__name__}: {error}"[:400])
            await asyncio.sleep(visitor.random.expovariate(1 / pause))

    async def _sample(self) -> None:
        while True:
            (engine,) = self.gateway.children()
            sizes = {"gateway": self.gateway.memory_info().rss, "engine": engine.memory_info().rss}
            files = {"gateway_files": self.gateway.num_fds(), "engine_files": engine.num_fds()}
            self.samples.append({"seconds": time.monotonic() - self.started, **sizes, **files})
            await asyncio.sleep(SAMPLE_SECONDS)

    def growth(self, name: str) -> float:
        """Return by what share the median of the last eighth exceeds that of the second quarter."""
        values = [sample[name] for sample in self.samples]
        quarter, eighth = len(values) // 4, max(1, len(values) // 8)
        return median(values[-eighth:]) / median(values[quarter : 2 * quarter] or values) - 1

    def shape(self, name: str) -> list[float]:
        """Return 21 sizes in MB, evenly over the time."""
        last = len(self.samples) - 1
        return [round(self.samples[i * last // 20][name] / 1e6, 1) for i in range(21)]


async def ready(http: httpx.AsyncClient) -> None:
    """Wait until the server answers."""
    for _ in range(600):
        try:
            if (await http.get("/health")).status_code == 200:
                return
        except httpx.TransportError:
            pass
        await asyncio.sleep(0.1)
    raise TimeoutError("the server never became ready")


async def held(http: httpx.AsyncClient) -> dict[str, float]:
    """Return what the engine holds for requests that run or wait."""
    families = text_string_to_metric_families((await http.get("/metrics")).text)
    samples = [sample for family in families for sample in family.samples if sample.name == "firesteel_engine"]
    return {s.labels["what"]: s.value for s in samples if s.labels["what"] in SETTLED}


def report(soak: Soak, left: dict[str, float], home_bytes: int) -> dict[str, Any]:
    """Return the benchmark document of DESIGN.md."""
    growth = {name: soak.growth(name) for name in ("gateway", "engine")}
    megabytes = {f"{name}_mb": soak.shape(name) for name in ("gateway", "engine")}
    files = {
        f"{name}_files": [s[f"{name}_files"] for s in soak.samples[:: max(1, len(soak.samples) // 10)]]
        for name in growth
    }
    return {
        "kind": "soak",
        "workload": f"mixed, {soak.seconds / 60:g} minutes, {soak.rate:g} activities a second",
        "model": "scripted",
        "model_sha256": None,
        "machine": msgspec.to_builtins(machine.describe()),
        "unit": "growth of RSS, second quarter to last eighth: gateway, engine",
        "ours": list(growth.values()),
        "peer": None,
        "ratio_median": None,
        "ceiling": {"value": MAX_GROWTH, "what": "asked for"},
        "details": {
            "activities": dict(soak.done),
            "num_errors": len(soak.errors),
            "errors": soak.errors[:20],
            "left": left,
            "home_mb": home_bytes / 1e6,
            "is_flat": max(growth.values()) <= MAX_GROWTH,
            **megabytes,
            **files,
        },
    }


def main() -> int:
    """Soak, and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--rate", type=float, default=6.0, help="activities a second; one is 1 to 9 requests")
    parser.add_argument("--save", type=Path)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server ends, too
    with tempfile.TemporaryDirectory() as name:
        with server(Path(name)) as (gateway, port):
            soak = Soak(gateway, port, 60 * options.minutes, options.rate)
            left = asyncio.run(soak.run())
        home_bytes = sum(path.stat().st_size for path in Path(name).rglob("*") if path.is_file())
    document = report(soak, left, home_bytes)
    line = json.dumps(document)
    if options.save:
        options.save.write_text(line + "\n")
    print(line)
    details = document["details"]
    return 0 if details["is_flat"] and not details["num_errors"] and not any(left.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
