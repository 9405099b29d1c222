"""The server's side of the engine process: start, talk, supervise, restart."""

import asyncio
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import msgspec

from firesteel.config import EngineConfig
from firesteel.engine import messages
from firesteel.engine.shorthand import Sender
from firesteel.engine.statistics import Statistics
from firesteel.errors import ModelError
from firesteel.types import Event, Failure, Finish, Work

log = logging.getLogger("firesteel")

Deliver = Callable[[Event], None]

FIRST_RETRY_SECONDS = 0.1
LAST_RETRY_SECONDS = 10.0
CLOSE_SECONDS = 12.0  # more than the child gives itself
STABLE_SECONDS = 30.0  # a process that lived this long is restarted without delay


class EngineProcess:
    """Runs the engine in a child process and keeps it running. All methods belong to the event loop.

    When the child dies, every live sequence gets a `Failure`, and a new child is started.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._delivers: dict[str, Deliver] = {}
        self._asking: list[asyncio.Future[Statistics]] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._shorthand = Sender()
        self._supervisor: asyncio.Task[None] | None = None
        self._loaded: asyncio.Future[messages.Ready] | None = None
        self.ready: messages.Ready | None = None  # None while loading
        self.num_restarts = 0
        self._closing = False

    async def start(self) -> None:
        """Begin to start the child; `wait_ready` tells when it has loaded its model."""
        self._loaded = asyncio.get_running_loop().create_future()
        self._loaded.add_done_callback(lambda loaded: loaded.cancelled() or loaded.exception())  # none need wait
        self._supervisor = asyncio.create_task(self._supervise())

    async def wait_ready(self) -> messages.Ready:
        """Wait for the first load. Raises ModelError when the model cannot be loaded."""
        assert self._loaded is not None, "start comes first"
        return await asyncio.shield(self._loaded)

    @property
    def pid(self) -> int | None:
        """The child's process id, for those who measure it."""
        return self._process.pid if self._process else None

    def add(self, work: Work, deliver: Deliver) -> None:
        """Start a sequence; its events go to `deliver`, the last one is `Finish` or `Failure`."""
        if self.ready is None:
            deliver(Failure(work.id, "server_not_ready", "the engine is restarting; send the request again"))
            return
        self._delivers[work.id] = deliver
        self._send(messages.Add(*self._shorthand.shorten(work)))

    def cancel(self, id: str) -> None:
        """End a sequence; its `Finish` still comes."""
        if id in self._delivers:
            self._send(messages.Cancel(id))

    def steer(self, id: str, work: Work, deliver: Deliver) -> None:
        """Go on from what `id` has said so far; see `EngineClient.steer`."""
        if self.ready is None:
            deliver(Failure(work.id, "server_not_ready", "the engine is restarting; send the request again"))
            return
        self._delivers[work.id] = deliver
        self._send(messages.Steer(id, work))

    def rewind(self, id: str, to_token: int, ban: tuple[int, ...] = (), hint: tuple[int, ...] = ()) -> None:
        """Take output tokens of `id` back; see `EngineClient.rewind`. Raises ValueError for a negative offset."""
        if to_token < 0:
            raise ValueError(f"to_token is {to_token}; it counts the output tokens that stay")
        if id in self._delivers:
            self._send(messages.TakeBack(id, to_token, ban, hint))

    async def statistics(self) -> Statistics | None:
        """Return a snapshot of the engine, None while it is loading."""
        if self.ready is None:
            return None
        answer: asyncio.Future[Statistics] = asyncio.get_running_loop().create_future()
        self._asking.append(answer)
        self._send(messages.AskStatistics())
        try:
            return await answer
        except ConnectionError:
            return None

    async def close(self) -> None:
        """End the child and everything that it runs; it gets a few seconds to bring what is warm to the disk."""
        self._closing = True
        if self._supervisor:
            if self.ready is not None and self._writer is not None:
                self._writer.write_eof()
                await asyncio.wait((self._supervisor,), timeout=CLOSE_SECONDS)
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
        if self._loaded and not self._loaded.done():
            self._loaded.cancel()

    def _send(self, command: messages.Command) -> None:
        if self._writer is not None:
            self._writer.write(messages.frame(command))

    async def _supervise(self) -> None:
        delay = FIRST_RETRY_SECONDS
        while True:
            started = time.monotonic()
            await self._run_once()
            if self._closing or self._has_failed_to_load():
                return
            self.num_restarts += 1
            lived_long = time.monotonic() - started > STABLE_SECONDS
            delay = FIRST_RETRY_SECONDS if lived_long else min(2 * delay, LAST_RETRY_SECONDS)
            await asyncio.sleep(delay)

    def _has_failed_to_load(self) -> bool:
        return bool(self._loaded and self._loaded.done() and self._loaded.exception() is not None)

    async def _run_once(self) -> None:
        """Run one child from birth to death."""
        try:
            reader = await self._spawn()
            while True:
                header = await reader.readexactly(messages.HEADER.size)
                body = await reader.readexactly(messages.HEADER.unpack(header)[0])
                self._receive(messages.report_decoder.decode(body))
        except (asyncio.IncompleteReadError, OSError):  # OSError: the child broke off, or could not be started
            pass
        except Exception:
            log.exception("a message of the engine process could not be handled")
        finally:
            self._bury()

    async def _spawn(self) -> asyncio.StreamReader:
        ours, theirs = socket.socketpair()
        config = msgspec.json.encode(self._config).decode()
        command = [sys.executable, "-m", "firesteel.child", str(theirs.fileno()), config]
        with theirs:
            # In a group of its own, so that a terminal's Ctrl-C does not reach it before it can ignore it.
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], process_group=0)
        reader, self._writer = await asyncio.open_connection(sock=ours)
        self._shorthand = Sender()  # a new process knows nothing
        return reader

    def _receive(self, report: messages.Report) -> None:
        if isinstance(report, messages.Events):
            for event in report.events:
                self._dispatch(event)
        elif isinstance(report, messages.Ready):
            self.ready = report
            log.info("ready: %s, %d tokens of KV", report.info.name, report.num_cells)
            if self._loaded and not self._loaded.done():
                self._loaded.set_result(report)
        elif isinstance(report, messages.Snapshot):
            answer = self._asking.pop(0)
            if not answer.done():
                answer.set_result(report.statistics)
        elif self._loaded and not self._loaded.done():
            self._loaded.set_exception(ModelError(report.message))
        else:
            log.error("the engine cannot load its model any more: %s", report.message)

    def _dispatch(self, event: Event) -> None:
        last = isinstance(event, Finish | Failure)
        deliver = self._delivers.pop(event.id, None) if last else self._delivers.get(event.id)
        if deliver is not None:
            deliver(event)

    def _bury(self) -> None:
        """Reap the dead child and tell everyone who waited for it."""
        self.ready = None
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        status = self._reap()
        if self._loaded and not self._loaded.done():
            self._loaded.set_exception(ModelError(f"the engine process ended while loading (status {status})"))
        for answer in self._asking:
            if not answer.done():
                answer.set_exception(ConnectionError())
        self._asking.clear()
        if not self._closing:
            log.warning("the engine process ended (status %s)", status)
        message = f"the engine process ended (status {status}) and is being restarted; send the request again"
        for id, deliver in list(self._delivers.items()):
            deliver(Failure(id, "engine_crashed", message))
        self._delivers.clear()

    def _reap(self) -> int | None:
        """Return the dead child's exit status; None when it could not even be started."""
        process, self._process = self._process, None
        if process is None:
            return None
        process.kill()
        return process.wait()
