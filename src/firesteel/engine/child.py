"""The engine process: `python -m firesteel.child FD CONFIG`, started by `engine.process`.

Three threads: the engine's owns the backend and never touches the socket; one reads commands; one sends
events. The sender gets its turn while the backend computes, so what several fast steps emit travels together.
"""

import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import msgspec

from firesteel import logs
from firesteel.backend import open_backend
from firesteel.config import EngineConfig
from firesteel.engine import messages
from firesteel.engine.shorthand import Receiver
from firesteel.engine.statistics import Statistics
from firesteel.engine.worker import EngineWorker
from firesteel.errors import FiresteelError, GuardFailure
from firesteel.events import coalesce
from firesteel.types import Event
from firesteel.verdict import OpenGuard

# Seconds after which a thread that wants the interpreter lock gets it from one that never sleeps.
# Only the scripted backend steps that fast; it bounds how long its events wait for company.
SWITCH_SECONDS = 0.001
END_SECONDS = 11.0  # for what is not on disk yet
TryGuard = Callable[[], tuple[str, ...]]
CRASHED = 70  # exit status after a bug; the server tells the clients and starts a new process


class Outbox:
    """What is on its way to the server; `put` and `answer` are called by the engine's thread and never block."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._events: deque[Event] = deque()
        self._snapshots: deque[Statistics] = deque()
        self._filled = threading.Event()

    def put(self, event: Event) -> None:
        """Queue one event."""
        self._events.append(event)
        if not self._filled.is_set():
            self._filled.set()

    def answer(self, statistics: Statistics) -> None:
        """Queue the answer to a question for statistics."""
        self._snapshots.append(statistics)
        self._filled.set()

    def send(self, report: messages.Report) -> None:
        """Send one report now; before `run` has started, or on its thread."""
        self._connection.sendall(messages.frame(report))

    def run(self) -> None:
        """Send what is queued, all of it at once, until the server goes away."""
        try:
            while True:
                self._filled.wait()
                self._filled.clear()
                self._send_all()
        except OSError:
            return  # the server is gone: whoever reads its commands sees that, too
        except Exception:
            traceback.print_exc()
            os._exit(CRASHED)

    def _send_all(self) -> None:
        waiting = [self._events.popleft() for _ in range(len(self._events))]
        if waiting:
            self.send(messages.Events(together(waiting)))
        while self._snapshots:
            self.send(messages.Snapshot(self._snapshots.popleft()))


def together(events: list[Event]) -> list[Event]:
    """Return what several steps emitted with each sequence's deltas merged."""
    return [event for _, event in coalesce([(event.id, event) for event in events])]


def serve(connection: socket.socket, config: EngineConfig, open_guard: OpenGuard | None, try_guard: TryGuard) -> None:
    """Load the model, then obey commands until the server closes the connection."""
    outbox = Outbox(connection)
    try:
        broken_rules = try_guard() if config.guard != "off" else ()
        if broken_rules and config.guard == "required":
            raise GuardFailure(
                f"the guard does not find its own examples of {', '.join(broken_rules)}, and its policy is to block: "
                "nothing is served unguarded. Reinstall Firesteel, or start with --guard rewrite"
            )
        backend = open_backend(config)
        worker = EngineWorker(backend, config, on_crash=lambda: os._exit(CRASHED), open_guard=open_guard)
    except FiresteelError as error:
        outbox.send(messages.Broken(error.message))
        return
    worker.prepare_when_idle()
    worker.start()
    capabilities = backend.capabilities
    outbox.send(
        messages.Ready(
            backend.info,
            capabilities.num_cells,
            capabilities.max_sequences,
            backend.state_fingerprint,
            broken_rules,
        )
    )
    threading.Thread(target=outbox.run, name="sender", daemon=True).start()
    with suppress(OSError):
        _obey(connection, worker, outbox)
    threading.Thread(target=_end_for_certain, daemon=True).start()
    worker.close()  # what is warm goes to the disk


def _end_for_certain() -> None:
    time.sleep(END_SECONDS)
    os._exit(CRASHED)


def _obey(connection: socket.socket, worker: EngineWorker, outbox: Outbox) -> None:
    stream, shorthand = connection.makefile("rb"), Receiver()
    while header := stream.read(messages.HEADER.size):
        (size,) = messages.HEADER.unpack(header)
        command = messages.command_decoder.decode(stream.read(size))
        if isinstance(command, messages.Add):
            worker.add(shorthand.restore(command.work, command.shared), outbox.put)
        elif isinstance(command, messages.Cancel):
            worker.cancel(command.id)
        elif isinstance(command, messages.Steer):
            worker.steer(command.id, command.work, outbox.put)
        elif isinstance(command, messages.TakeBack):
            worker.rewind(command.id, command.to_token, command.ban, command.hint)
        else:
            worker.ask_statistics(outbox.answer)


def main(open_guard: OpenGuard | None = None, try_guard: TryGuard = tuple) -> None:
    """Run the process; when the server is gone it ends, as soon as what is warm is on disk.

    `open_guard` opens the guard of an answer; `try_guard` tries it out, and names the rules that are broken.
    """
    for reaches_the_whole_group in (signal.SIGINT, signal.SIGTERM):
        signal.signal(reaches_the_whole_group, signal.SIG_IGN)  # the server decides; its end is ours
    sys.setswitchinterval(SWITCH_SECONDS)
    connection = socket.socket(fileno=int(sys.argv[1]))
    config = msgspec.json.decode(sys.argv[2], type=EngineConfig)
    logs.configure(config.log_format)
    serve(connection, config, open_guard, try_guard)
    os._exit(0)
