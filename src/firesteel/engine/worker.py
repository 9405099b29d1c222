"""The engine's thread: it owns the backend; everyone else posts commands and is handed events."""

import threading
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from firesteel.backend.base import Backend
from firesteel.config import EngineConfig
from firesteel.engine.loop import Engine
from firesteel.engine.statistics import Statistics
from firesteel.types import Event, Failure, Finish, Work
from firesteel.verdict import OpenGuard

Deliver = Callable[[Event], None]

IDLE_SECONDS = 1.0  # without work, after which what takes long once is done


class EngineWorker:
    """Runs an `Engine` on its own thread. `add` and `cancel` may be called from any thread.

    Events are delivered on the engine's thread, so `deliver` must be quick and must not block.
    """

    def __init__(
        self,
        backend: Backend,
        config: EngineConfig,
        on_crash: Callable[[], None] = lambda: None,
        open_guard: OpenGuard | None = None,
    ) -> None:
        self.backend = backend
        self._on_crash = on_crash  # called on the engine's thread when a bug ends it
        self._inbox: deque[Callable[[], None]] = deque()
        self._wake = threading.Event()
        self._delivers: dict[str, Deliver] = {}
        self._cancelling: set[str] = set()
        self._steering: set[str] = set()
        self._engine = Engine(
            backend,
            config,
            self._dispatch,
            is_interrupted=self._is_interrupted,
            wake=self._wake.set,
            open_guard=open_guard,
        )
        self._closing = self._has_crashed = self._must_prepare = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def prepare_when_idle(self) -> None:
        """Let what takes long once be done in the first quiet second, not in a stream; call it before `start`."""
        self._must_prepare = True

    def add(self, work: Work, deliver: Deliver) -> None:
        """Queue a sequence; its events, ending with `Finish` or `Failure`, go to `deliver`."""
        self._post(lambda: self._add(work, deliver))

    def cancel(self, id: str) -> None:
        """End a sequence within one step; a step that computes nothing else is interrupted."""
        self._cancelling.add(id)
        self._post(lambda: self._cancel(id))
        if self._engine.batch.may_abort_for(id):
            self.backend.abort()

    def steer(self, id: str, work: Work, deliver: Deliver) -> None:
        """Go on from what `id` has said so far, see `EngineClient.steer`; a prompt's step is interrupted."""
        self._steering.add(id)
        self._post(lambda: self._steer(id, work, deliver))
        if self._engine.batch.is_reading and self._engine.batch.may_abort_for(id):
            self.backend.abort()

    def rewind(self, id: str, to_token: int, ban: tuple[int, ...] = (), hint: tuple[int, ...] = ()) -> None:
        """Take output tokens of `id` back, see `EngineClient.rewind`. Raises ValueError for a negative offset."""
        if to_token < 0:
            raise ValueError(f"to_token is {to_token}; it counts the output tokens that stay")
        self._post(lambda: None if self._has_crashed else self._engine.rewind(id, to_token, ban, hint))

    def ask_statistics(self, answer: Callable[[Statistics], None]) -> None:
        """Call `answer` with a snapshot, on the engine's thread, between two steps."""
        self._post(lambda: answer(self._engine.statistics()))

    def close(self) -> None:
        """Cancel everything, free the backend and join the thread."""
        self._closing = True
        self.backend.abort()
        self._wake.set()
        self._thread.join()

    def _post(self, command: Callable[[], None]) -> None:
        self._inbox.append(command)
        self._wake.set()
        while self._has_crashed and self._inbox:  # nobody else will; whoever waits for an answer gets one
            with suppress(IndexError):
                self._inbox.popleft()()

    def _run(self) -> None:
        try:
            self._loop()
        except Exception:
            traceback.print_exc()
            self._has_crashed = True
            self._on_crash()
            for id, deliver in self._delivers.items():
                deliver(_crash_of(id))
            self._post(lambda: None)

    def _loop(self) -> None:
        engine, inbox = self._engine, self._inbox
        while not self._closing:
            while inbox:
                inbox.popleft()()
            if not engine.step():
                if not inbox and not self._closing:
                    self._rest()
                self._wake.clear()
        engine.close()

    def _rest(self) -> None:
        """Wait until there is something to do."""
        if self._must_prepare and not self._wake.wait(IDLE_SECONDS):
            self._must_prepare = False
            self._engine.grammars.prepare()
        self._wake.wait()

    def _add(self, work: Work, deliver: Deliver) -> None:
        if self._expect(work, deliver):
            self._engine.add(work)

    def _expect(self, work: Work, deliver: Deliver) -> bool:
        """Let the events of `work` go to `deliver`; False when its id is taken, or the engine has ended."""
        if self._has_crashed:
            deliver(_crash_of(work.id))
            return False
        if work.id in self._delivers:
            deliver(Failure(work.id, "invalid_value", f"id {work.id!r} is already running"))
            return False
        self._delivers[work.id] = deliver
        return True

    def _cancel(self, id: str) -> None:
        self._cancelling.discard(id)
        if not self._has_crashed:
            self._engine.cancel(id)

    def _steer(self, id: str, work: Work, deliver: Deliver) -> None:
        self._steering.discard(id)
        if self._expect(work, deliver):
            self._engine.steer(id, work)

    def _is_interrupted(self, id: str) -> bool:
        return id in self._cancelling or (id in self._steering and self._engine.batch.is_reading)

    def _dispatch(self, event: Event) -> None:
        deliver = self._delivers.get(event.id)
        if deliver is None:
            return
        if isinstance(event, Finish | Failure):
            del self._delivers[event.id]
        deliver(event)


def _crash_of(id: str) -> Failure:
    return Failure(id, "engine_failure", "the engine stopped on an internal error; see its log")
