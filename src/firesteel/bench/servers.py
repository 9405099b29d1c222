"""Servers as processes: started on a free port, waited for, ended for certain."""

import http.client
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

import msgspec

from firesteel.errors import EngineFailure

if TYPE_CHECKING:
    import psutil

START_SECONDS = 180.0
STOP_SECONDS = 30.0  # ours brings what is warm to the disk first
ENGINE_METRIC = "firesteel_engine"
ALONE = ("--keys", "none", "--ledger", "none")  # a benchmark asks without a key, and is nobody's usage
VERIFY_METRIC = "firesteel_verify_seconds"


class Server(msgspec.Struct, frozen=True):
    """A server that answers on `port`."""

    port: int
    process: subprocess.Popen[bytes]

    def get(self, path: str) -> str:
        """Return the body of a GET request, whatever the status. Raises `OSError` when nobody answers."""
        return get(self.port, path)[1]

    def engine(self) -> dict[str, float]:
        """Return what our engine says about itself: `engine.statistics.Statistics`."""
        return self.metric(ENGINE_METRIC, "what")

    def verify_seconds(self) -> dict[str, float]:
        """Return what our engine thinks that a step costs, by its rows; empty before it learned anything."""
        return self.metric(VERIFY_METRIC, "rows")

    def metric(self, name: str, label: str) -> dict[str, float]:
        """Return the values of one of our server's metrics by one of its labels."""
        from prometheus_client.parser import text_string_to_metric_families

        families = text_string_to_metric_families(self.get("/metrics"))
        samples = [sample for family in families if family.name == name for sample in family.samples]
        return {sample.labels[label]: sample.value for sample in samples}

    def engine_seconds(self) -> tuple[float, float]:
        """Return the seconds that our engine spent in steps so far, and the part inside the backend's code."""
        found = self.engine()
        return found["step_seconds"], found["native_seconds"]

    def cpu_seconds(self) -> dict[str, float]:
        """Return the processor time so far of the server's own process and of its children together."""
        import psutil

        def seconds(process: psutil.Process) -> float:
            times = process.cpu_times()
            return float(times.user + times.system)

        gateway, *children = self.processes()
        return {"gateway": seconds(gateway), "engine": sum(seconds(child) for child in children)}

    def processes(self) -> "list[psutil.Process]":
        """Return the server's own process, then its children."""
        import psutil

        gateway = psutil.Process(self.process.pid)
        return [gateway, *gateway.children(recursive=True)]

    def peak_bytes(self) -> int:
        """Return the most memory that each process has occupied so far, summed up."""
        return sum(peak_bytes(process.pid) for process in self.processes())

    def kill(self) -> None:
        """End the server and its children by SIGKILL, as a crash or a power cut would."""
        import psutil

        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()


def get(port: int, path: str) -> tuple[int, str]:
    """Return status and body of a GET request. Raises `OSError` when nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process has occupied so far; what it occupies now where there is no /proc."""
    import psutil

    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        found = None
    return int(found[1]) * 1024 if found else int(psutil.Process(pid).memory_info().rss)


def resident_bytes() -> int:
    """Return the memory that this process occupies now."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def serve_command(port: int, arguments: Sequence[str]) -> list[str]:
    """Return the command line that starts our server; without a disk cache unless `arguments` ask for one.

    The prompts of a benchmark are always the same, so a cache on disk would know them from the last time.
    """
    disk = [] if "--disk-cache" in arguments else ["--disk-cache", "0"]
    return [sys.executable, "-m", "firesteel", "serve", "--port", str(port), *disk, *ALONE, *arguments]


@contextmanager
def running(command: Sequence[str], port: int, env: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Run `command` until the block ends; enter it when GET /health answers 200. `env` adds to the environment.

    Raises `EngineFailure` with the end of the server's log when it ends early or is never ready.
    """
    with tempfile.TemporaryFile() as log:
        whole = os.environ | dict(env or {})
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, env=whole)
        try:
            wait_ready(process, port, log)
            yield Server(port, process)
        finally:
            stop(process)


def wait_ready(process: subprocess.Popen[bytes], port: int, log: IO[bytes]) -> None:
    """Return when GET /health answers 200. Raises `EngineFailure` as `running` says."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if get(port, "/health")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.01)
    log.seek(0)
    raise EngineFailure(f"the server did not start; its last words:\n{log.read().decode(errors='replace')[-2000:]}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End `process`: ask, then insist."""
    assert process.stdin is not None
    process.stdin.close()  # the peer ends on this
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
