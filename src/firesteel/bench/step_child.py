"""The processes of `bench step`, seen from the benchmark: each holds a model and one sequence.

One at a time runs. The others are stopped (SIGSTOP), so that no thread of theirs waits busily for work.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any

import msgspec

from firesteel.bench.stepping import Json
from firesteel.config import EngineConfig
from firesteel.errors import EngineFailure

OURS = "firesteel.bench.step_ours"
IK = "firesteel.bench.step_ik"
POLL_SECONDS = 0.0002


class About(msgspec.Struct, frozen=True):
    """What a process says of itself."""

    name: str
    version: str
    chunk_rows: int  # of its prefill


class Child:
    """A process that computes steps; stopped unless it is asked."""

    def __init__(self, side: str, process: "subprocess.Popen[str]", log: IO[bytes]) -> None:
        self.side = side  # what the report calls it
        self.length = 0  # of its history
        self._process, self._log = process, log
        self.about = msgspec.convert(self._answer(), About)
        self.stop()

    def ask(self, do: str, **arguments: Any) -> Json:
        """Let it run until it has answered. Raises `EngineFailure` with the end of its log when it dies."""
        import psutil

        psutil.Process(self._process.pid).resume()
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()
            return self._answer()
        except BrokenPipeError:
            raise self._failure() from None
        finally:
            self.stop()

    def fill(self, to: int) -> float:
        """Make its history `to` tokens long, and return the seconds that this took."""
        seconds: float = self.ask("fill", to=to)["seconds"]
        self.length = to
        return seconds

    def stop(self) -> None:
        """Let none of its threads run; return when that is so: the signal takes a moment to arrive."""
        import psutil

        if self._process.poll() is None:
            process = psutil.Process(self._process.pid)
            process.suspend()
            while process.status() not in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP, psutil.STATUS_ZOMBIE):
                time.sleep(POLL_SECONDS)

    def _answer(self) -> Json:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._failure()
        found: Json = json.loads(line)
        return found

    def _failure(self) -> EngineFailure:
        self._process.wait()
        self._log.seek(0)
        words = self._log.read().decode(errors="replace").strip()
        return EngineFailure(f"{self.side} ended; its last words:\n{words[-2000:]}")


@contextmanager
def running(side: str, command: Sequence[str], env: Mapping[str, str] | None = None) -> Iterator[Child]:
    """Run a process that speaks `bench.stepping` until the block ends; enter it when the model is loaded.

    Raises `EngineFailure` with the end of its log when it cannot be.
    """
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=env
        )
        try:
            yield Child(side, process, log)
        finally:
            process.kill()  # works on a stopped process, too; there is nothing to bring to disk
            process.communicate()


def ours_command(config: EngineConfig) -> list[str]:
    """Return the command line of a backend of ours under an `EngineConfig`."""
    return [sys.executable, "-m", OURS, msgspec.json.encode(config).decode()]


def ik_command(python: str, model: str, context_tokens: int, num_threads: int) -> list[str]:
    """Return the command line of ik_llama.cpp, which runs in an environment of its own."""
    return [python, "-m", IK, model, str(context_tokens), str(num_threads)]
