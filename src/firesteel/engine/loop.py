"""The engine's loop: schedule → verify → accept → watch → emit, one step for all live sequences."""

from collections.abc import Callable

import msgspec

from firesteel.backend.base import Aborted, Backend, Output
from firesteel.clock import Clock, SystemClock
from firesteel.config import EngineConfig
from firesteel.engine.schedule import Plan, Scheduler
from firesteel.engine.sequence import Sequence
from firesteel.errors import EngineFailure
from firesteel.types import Event, Failure, Finish, Progress, Work

PROGRESS_SECONDS = 0.25  # least time between two progress events of one prompt


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot of the engine; times in seconds since the start."""

    num_waiting: int
    num_running: int
    num_steps: int
    num_rows: int
    num_prompt_tokens: int
    num_cached_tokens: int
    num_output_tokens: int
    num_preemptions: int
    num_cells: int
    num_cells_leased: int
    num_host_tokens: int
    host_bytes: int
    step_seconds: float
    native_seconds: float  # the part of `step_seconds` inside the backend's own code


class Engine:
    """Steps all live sequences. Everything here runs on one thread, the one that owns the backend."""

    def __init__(
        self,
        backend: Backend,
        config: EngineConfig,
        emit: Callable[[Event], None],
        clock: Clock | None = None,
        is_cancelled: Callable[[str], bool] = lambda id: False,
    ) -> None:
        self.backend = backend
        self.scheduler = Scheduler(backend, config)
        self._emit = emit
        self._is_cancelled = is_cancelled
        self._now = (clock or SystemClock()).now
        self._sequences: dict[str, Sequence] = {}
        self._progress_at: dict[str, float] = {}
        self._arrivals = 0
        self._num_steps = self._num_rows = 0
        self._num_prompt = self._num_cached = self._num_output = 0
        self._step_seconds = 0.0
        self._max_step_tokens = backend.capabilities.max_step_tokens
        self.stepping: tuple[str, ...] = ()  # ids in the running batch; read by the thread that aborts

    def add(self, work: Work) -> None:
        """Take a sequence. One that can never fit, or that is known already, fails at once."""
        num_needed = len(work.tokens) + work.max_tokens
        if work.id in self._sequences:
            return self._emit(Failure(work.id, "invalid_value", f"id {work.id!r} is already running"))
        if not work.tokens or work.max_tokens < 1:
            return self._emit(Failure(work.id, "invalid_value", "prompt and max_tokens must not be empty"))
        if num_needed > self.backend.capabilities.num_cells:
            return self._emit(Failure(work.id, "context_length_exceeded", f"{num_needed} tokens do not fit"))
        self._arrivals += 1
        sequence = Sequence(work, self._arrivals, self.backend.tokenizer, self._now())
        self._sequences[work.id] = sequence
        self.scheduler.waiting.append(sequence)
        return None

    def cancel(self, id: str) -> None:
        """End a sequence now; its KV rests in host memory. Unknown ids are ignored: it has just finished."""
        sequence = self._sequences.get(id)
        if sequence is not None:
            sequence.reason = "cancelled"
            self._finish(sequence)

    def step(self) -> bool:
        """Run one step; return False when there was nothing to do."""
        started = self._now()
        plan = self.scheduler.plan()
        if not plan:
            return False
        computing = self._now()
        outputs = self._compute(plan)
        now = self._now()
        if outputs is not None:
            num_rows = sum(rows for _, rows in plan)
            self._num_rows += num_rows
            self.scheduler.cost.observe(num_rows, now - computing)
            for (sequence, rows), output in zip(plan, outputs, strict=True):
                self._advance(sequence, rows, output, started, now)
        self._num_steps += 1
        self._step_seconds += self._now() - started
        return True

    def _compute(self, plan: Plan) -> list[Output] | None:
        """Run the batch; None when it was aborted, or failed and took its sequences with it."""
        try:
            self.backend.submit([sequence.rows(rows, self._max_step_tokens) for sequence, rows in plan])
            self._begin_step(plan)
            return self.backend.wait()
        except Aborted:
            return None
        except EngineFailure as error:
            for sequence, _ in plan:
                self._fail(sequence, error)
            return None
        finally:
            self.stepping = ()

    def _begin_step(self, plan: Plan) -> None:
        """Publish what runs. A cancel posted before this is seen here, one after it sees `stepping`."""
        self.stepping = tuple([sequence.id for sequence, _ in plan])
        if len(plan) == 1 and self._is_cancelled(self.stepping[0]):
            self.backend.abort()

    def _advance(self, sequence: Sequence, rows: int, output: Output, started: float, now: float) -> None:
        """Verify, accept and emit what one step yielded for one sequence."""
        if sequence.started_at is None:
            self._begin(sequence, started)
        is_last = rows == sequence.num_uncomputed
        try:
            tokens = sequence.verify(output) if is_last else []
        except EngineFailure as error:
            return self._fail(sequence, error)
        sequence.num_computed += rows
        if tokens:
            # All tokens of a multi-token step but the last are in the backend's KV already.
            num_ahead = len(tokens) - 1
            self._accept(sequence, tokens, now)
            sequence.num_computed = min(sequence.num_computed + num_ahead, len(sequence.tokens))
            self.scheduler.cells.lease(sequence.slot, sequence.num_computed)
            if sequence.reason is not None:
                if num_ahead:
                    self.backend.trim(sequence.slot, sequence.num_computed)
                self._finish(sequence)
        else:
            self.scheduler.cells.lease(sequence.slot, sequence.num_computed)
            self._report_progress(sequence, now)
        return None

    def _begin(self, sequence: Sequence, started: float) -> None:
        sequence.started_at = started
        self._num_prompt += sequence.num_prompt
        self._num_cached += sequence.num_cached

    def _accept(self, sequence: Sequence, tokens: list[int], now: float) -> None:
        num_before = sequence.num_output
        delta = sequence.accept(tokens)
        self._num_output += sequence.num_output - num_before
        if sequence.first_token_at is None:
            sequence.first_token_at = now
        sequence.last_token_at = now
        if delta is not None:
            self._emit(delta)

    def _report_progress(self, sequence: Sequence, now: float) -> None:
        if now - self._progress_at.get(sequence.id, 0.0) >= PROGRESS_SECONDS:
            self._progress_at[sequence.id] = now
            self._emit(Progress(sequence.id, sequence.num_computed, sequence.num_prompt))

    def _finish(self, sequence: Sequence) -> None:
        assert sequence.reason is not None
        self._forget(sequence, keep=True)
        self._emit(Finish(sequence.id, sequence.reason, sequence.usage()))

    def _fail(self, sequence: Sequence, error: EngineFailure) -> None:
        self._forget(sequence, keep=False)
        self._emit(Failure(sequence.id, error.code or "engine_failure", error.message))

    def _forget(self, sequence: Sequence, *, keep: bool) -> None:
        self.scheduler.retire(sequence, keep=keep)
        self._sequences.pop(sequence.id, None)
        self._progress_at.pop(sequence.id, None)

    def statistics(self) -> Statistics:
        """Return a snapshot of the counters."""
        scheduler = self.scheduler
        return Statistics(
            num_waiting=len(scheduler.waiting),
            num_running=len(scheduler.running),
            num_steps=self._num_steps,
            num_rows=self._num_rows,
            num_prompt_tokens=self._num_prompt,
            num_cached_tokens=self._num_cached,
            num_output_tokens=self._num_output,
            num_preemptions=scheduler.num_preemptions,
            num_cells=scheduler.cells.total,
            num_cells_leased=scheduler.cells.num_leased,
            num_host_tokens=scheduler.host.num_tokens,
            host_bytes=scheduler.host.num_bytes,
            step_seconds=self._step_seconds,
            native_seconds=self.backend.native_seconds,
        )

    def close(self) -> None:
        """Cancel everything and free the backend."""
        self.scheduler.host.max_bytes = 0  # nothing of it is worth keeping
        for id in list(self._sequences):
            self.cancel(id)
        self.scheduler.host.clear()
        self.backend.close()
