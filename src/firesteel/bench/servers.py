"""Servers as processes: started on a free port, waited for, ended for certain."""

import http.client
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO

import msgspec

from firesteel.errors import EngineFailure

START_SECONDS = 180.0
STOP_SECONDS = 15.0
ENGINE_METRIC = "firesteel_engine"


class Server(msgspec.Struct, frozen=True):
    """A server that answers on `port`."""

    port: int
    process: subprocess.Popen[bytes]

    def get(self, path: str) -> str:
        """Return the body of a GET request, whatever the status. Raises `OSError` when nobody answers."""
        return get(self.port, path)[1]

    def engine_seconds(self) -> tuple[float, float]:
        """Return the seconds that our engine spent in steps so far, and the part inside the backend's code."""
        from prometheus_client.parser import text_string_to_metric_families

        families = text_string_to_metric_families(self.get("/metrics"))
        samples = [sample for family in families if family.name == ENGINE_METRIC for sample in family.samples]
        found = {sample.labels["what"]: sample.value for sample in samples}
        return found["step_seconds"], found["native_seconds"]

    def cpu_seconds(self) -> dict[str, float]:
        """Return the processor time so far of the server's own process and of its children together."""
        import psutil

        def seconds(process: psutil.Process) -> float:
            times = process.cpu_times()
            return float(times.user + times.system)

        gateway = psutil.Process(self.process.pid)
        children = gateway.children(recursive=True)
        return {"gateway": seconds(gateway), "engine": sum(seconds(child) for child in children)}


def get(port: int, path: str) -> tuple[int, str]:
    """Return status and body of a GET request. Raises `OSError` when nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def serve_command(port: int, arguments: Sequence[str]) -> list[str]:
    """Return the command line that starts our server."""
    return [sys.executable, "-m", "firesteel", "serve", "--port", str(port), *arguments]


@contextmanager
def running(command: Sequence[str], port: int) -> Iterator[Server]:
    """Run `command` until the block ends; enter it when GET /health answers 200.

    Raises `EngineFailure` with the end of the server's log when it ends early or is never ready.
    """
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT)
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
        time.sleep(0.05)
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
