"""Real PostgreSQL and Redis servers of Debian's packages, on loopback and in a temporary folder."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from firesteel.bench.servers import free_port
from tests.server.live import wait_for

INSTALL = "scripts/install-databases.sh"
MISSING: set[str] = set()  # programs that a test wanted in vain
START_SECONDS = 30.0


def found(name: str) -> str:
    """Return the path of a server's program. Skips the test, loudly, when it is not installed."""
    places = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    path = shutil.which(name, path=os.pathsep.join([*places, os.environ.get("PATH", ""), "/usr/sbin"]))
    if path is None:
        MISSING.add(name)
        pytest.skip(f"NOT TESTED: {name} is not installed; run {INSTALL}")
    return path


def somebody(folder: Path) -> dict[str, Any]:
    """Return the options of a process that refuses to be root; gives `folder` to who runs it."""
    if os.geteuid() != 0:
        return {}
    owner = pwd.getpwnam("postgres")
    os.chown(folder, owner.pw_uid, owner.pw_gid)
    return {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": (), "cwd": folder}


class RealServer:
    """A server that can be killed, and started again where it was."""

    def __init__(
        self, command: Sequence[str], port: int, log: Path, is_ready: Callable[[], bool], **options: Any
    ) -> None:
        self.port = port
        self._options = options  # of the process
        self._command = command
        self._log = log
        self._is_ready = is_ready
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, start_new_session=True, **self._options
            )
        wait_for(self._has_started, f"{self._command[-1]} answers", START_SECONDS)

    def _has_started(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        return self._is_ready()

    def pause(self) -> None:
        """Let it answer nothing, as a machine that has lost its network would."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it answer again."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it and its children at once, as a crash would."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


def listens(port: int) -> bool:
    """Return whether somebody takes connections at `port`."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@contextmanager
def running(server: RealServer) -> Iterator[RealServer]:
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def redis_server(folder: Path) -> Iterator[RealServer]:
    """Run Redis; its address is `redis://127.0.0.1:PORT/0`."""
    port = free_port()
    where = ("--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "", "--appendonly", "no")
    with running(RealServer([found("redis-server"), *where], port, folder / "log", lambda: listens(port))) as server:
        yield server


@contextmanager
def postgres_server() -> Iterator[RealServer]:
    """Run PostgreSQL; its address is `postgresql://postgres@127.0.0.1:PORT/postgres`."""
    initdb, postgres, port = found("initdb"), found("postgres"), free_port()
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to the user `postgres`
        data, log = Path(name, "data"), Path(name, "log")
        who = somebody(Path(name))
        make = [initdb, "-D", str(data), "-U", "postgres", "--auth", "trust", "--no-sync"]
        done = subprocess.run(make, capture_output=True, text=True, check=False, **who)
        assert done.returncode == 0, done.stderr
        command = [postgres, "-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", name]
        with running(RealServer(command, port, log, lambda: answers(port), **who)) as server:
            yield server


def answers(port: int) -> bool:
    """Return whether PostgreSQL takes queries; it takes connections before."""
    import psycopg

    try:
        psycopg.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres", connect_timeout=1).close()
    except psycopg.OperationalError:
        return False
    return True
