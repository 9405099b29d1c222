"""The thread that hashes, checks, reads and writes blocks, so that the engine's thread never does."""

import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from firesteel.backend.base import State
from firesteel.engine.kv.store import BlockFile, BlockStore, identify

DISK_NICENESS = 10  # checking a block takes 3 ms of a core that the model could use
MAX_WAITING_BYTES = 256 * 1024 * 1024
TIDY_SECONDS = 3_600.0  # what expires while nothing is written leaves within this time

log = logging.getLogger("firesteel")

Deliver = Callable[[Callable[[], None]], None]
T = TypeVar("T")


class Job(NamedTuple):
    """What the thread does, and what is done instead when there is no time for it any more."""

    run: Callable[[], None]
    drop: Callable[[], None]
    num_bytes: int = 0  # host memory that it holds while it waits


class DiskThread:
    """Owns a `BlockStore`; its methods may be called from any thread and return at once.

    Results go to `deliver` as callbacks without arguments, in the order in which things happened on disk.
    `on_removed` gets, the same way, the ids of blocks that have left the disk without being asked to.
    """

    def __init__(
        self,
        store: BlockStore,
        *,
        deliver: Deliver,
        on_removed: Callable[[list[str]], None] = lambda ids: None,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
        tidy_seconds: float = TIDY_SECONDS,
    ) -> None:
        self.num_waiting_bytes = 0  # held by writes that wait or run
        self.num_dropped = 0  # writes that found too much waiting
        self._store = store
        self._deliver = deliver
        self._max_waiting_bytes = max_waiting_bytes
        self._tidy_seconds = tidy_seconds
        self._tidy_at = time.monotonic() + tidy_seconds
        self._reads: deque[Job] = deque()
        self._others: deque[Job] = deque()
        self._is_busy = False
        self._is_closing = False
        self._changed = threading.Condition()
        store.on_removed = lambda ids: deliver(lambda: on_removed(ids))
        self._thread = threading.Thread(target=self._run, name="disk", daemon=True)
        self._thread.start()

    def scan(self, done: Callable[[list[BlockFile]], None]) -> None:
        """Look at what is on disk: `done` gets the blocks, parents before children."""
        nothing: list[BlockFile] = []
        self._put(self._others, self._job(self._store.scan, done, nothing))

    def identify(self, scope: str, parent: str, tokens: npt.NDArray[np.int32]) -> str:
        """Return the id that a block has on disk, `parent` being the id of the one before it or "" (some 3 µs)."""
        return identify(scope, parent, tokens)

    def write(
        self,
        scope: str,
        parent: str,
        position: int,
        tokens: npt.NDArray[np.int32],
        state: State,
        done: Callable[[str | None], None],
    ) -> None:
        """Store a block; `done` gets its id, or None: too much is waiting, or the disk cannot take it.

        `tokens` and `state` must not change until then.
        """
        num_bytes = memoryview(state).nbytes
        with self._changed:
            is_dropped = self.num_waiting_bytes + num_bytes > self._max_waiting_bytes
            self.num_dropped += is_dropped
        if is_dropped:
            self._deliver(lambda: done(None))
            return
        job = self._job(lambda: self._store.write(scope, parent, position, tokens, state), done, None, num_bytes)
        self._put(self._others, job)

    def read(self, ids: list[str], done: Callable[[list[bytes | None]], None]) -> None:
        """Read blocks, before any write that waits; `done` gets the KV of each, None for what cannot be had."""
        failed: list[bytes | None] = [None] * len(ids)
        self._put(self._reads, self._job(lambda: [self._store.read(id) for id in ids], done, failed))

    def touch(self, ids: Iterable[str]) -> None:
        """Mark blocks, and all before them, as used now."""
        touched = list(ids)
        self._put(self._others, self._job(lambda: self._store.touch(touched), _ignore, None))

    def remove(self, ids: Iterable[str]) -> None:
        """Remove blocks that are of no use any more."""
        removed = list(ids)
        self._put(self._others, self._job(lambda: self._store.remove(removed), _ignore, None))

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until nothing waits or runs; return whether that came in time. Results are delivered by then."""
        with self._changed:
            return self._changed.wait_for(lambda: self._is_idle, timeout_seconds)

    def close(self, timeout_seconds: float) -> bool:
        """Drop what waits, each with its answer, and end the thread; return whether it ended in time."""
        with self._changed:
            self._is_closing = True
            dropped = [*self._reads, *self._others]
            self._reads.clear()
            self._others.clear()
            self.num_waiting_bytes -= sum(job.num_bytes for job in dropped)
            self._changed.notify_all()
        for job in dropped:
            job.drop()
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    @property
    def _is_idle(self) -> bool:
        return not (self._reads or self._others or self._is_busy)

    def _job(self, work: Callable[[], T], done: Callable[[T], None], failed: T, num_bytes: int = 0) -> Job:
        def run() -> None:
            result = failed
            try:
                result = work()
            except Exception:
                log.exception("a job of the disk thread failed")
            self._deliver(lambda: done(result))

        return Job(run, lambda: self._deliver(lambda: done(failed)), num_bytes)

    def _put(self, queue: deque[Job], job: Job) -> None:
        with self._changed:
            if not self._is_closing:
                queue.append(job)
                self.num_waiting_bytes += job.num_bytes
                self._changed.notify_all()
                return
        job.drop()

    def _run(self) -> None:
        _yield_to_the_model()
        while self._run_next():
            pass

    def _run_next(self) -> bool:
        """Run one job, and hold nothing of it afterwards; return False when the thread is to end."""
        job = self._next()
        if job is None:
            return False
        try:
            job.run()
        except Exception:
            log.exception("the disk thread could not deliver a result")
        with self._changed:
            self.num_waiting_bytes -= job.num_bytes
            self._is_busy = False
            self._changed.notify_all()
        return True

    def _next(self) -> Job | None:
        """Wait for the next job; None at the end."""
        with self._changed:
            wait_seconds = max(0.0, self._tidy_at - time.monotonic())
            self._changed.wait_for(lambda: self._is_closing or not self._is_idle, wait_seconds)
            if self._is_closing:
                return None
            self._is_busy = True
            if time.monotonic() >= self._tidy_at:
                self._tidy_at = time.monotonic() + self._tidy_seconds
                return self._job(self._store.tidy, _ignore, None)
            return (self._reads or self._others).popleft()


def _ignore(_: object) -> None:
    pass


def _yield_to_the_model() -> None:
    """Lower this thread's priority; on Linux niceness belongs to the thread."""
    if sys.platform == "linux":
        with suppress(OSError):  # a sandbox may forbid it
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), DISK_NICENESS)
