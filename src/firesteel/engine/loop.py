"""The engine's loop: schedule → draft → verify → accept → watch → emit, one step for all live sequences."""

from collections import deque
from collections.abc import Callable
from functools import partial

import msgspec

from firesteel.backend.base import Aborted, Backend, Output
from firesteel.clock import Clock, SystemClock
from firesteel.config import EngineConfig
from firesteel.engine.batch import BatchRunner
from firesteel.engine.checks import why_not_add
from firesteel.engine.constrain import Grammars
from firesteel.engine.draft.drafting import Drafting
from firesteel.engine.guarded_sequence import GuardedSequence
from firesteel.engine.kv.open import open_warm
from firesteel.engine.kv.warm import WarmKV
from firesteel.engine.schedule import Plan, Scheduler
from firesteel.engine.sequence import Sequence
from firesteel.engine.statistics import Counters, Statistics
from firesteel.engine.steer import Steer, begin, why_not
from firesteel.engine.take_back import TakeBack
from firesteel.errors import EngineFailure, FiresteelError, GuardFailure
from firesteel.types import Delta, Event, Failure, Finish, FinishReason, Progress, Usage, Work
from firesteel.verdict import OpenGuard

PROGRESS_SECONDS = 0.25  # least time between two progress events of one prompt
NO_USAGE = Usage(num_prompt_tokens=0, num_cached_tokens=0, num_output_tokens=0)


class Engine:
    """Steps all live sequences. Everything here runs on one thread, the one that owns the backend."""

    def __init__(
        self,
        backend: Backend,
        config: EngineConfig,
        emit: Callable[[Event], None],
        clock: Clock | None = None,
        is_interrupted: Callable[[str], bool] = lambda id: False,
        wake: Callable[[], None] = lambda: None,
        open_guard: OpenGuard | None = None,
    ) -> None:
        self.backend = backend
        self._open_guard = open_guard
        self._now = (clock or SystemClock()).now
        self._arrived: deque[Callable[[], None]] = deque()  # filled by the disk's thread
        self._wake = wake
        self.drafting = Drafting(config, backend, self._now)  # first: it may refuse the configuration
        self.warm: WarmKV = open_warm(backend, config, self._deliver, self._now)
        self.scheduler = Scheduler(backend, config, self.warm)
        self.grammars = Grammars(backend.tokenizer)
        self._emit = emit
        self._sequences: dict[str, Sequence] = {}
        self._progress_at: dict[str, float] = {}
        self._arrivals = 0
        self._counters = Counters()
        self._max_tokens = min(backend.capabilities.num_cells, backend.info.context_length)
        self.batch = BatchRunner(backend, is_interrupted)
        self._take_back = TakeBack(backend.tokenizer, self.scheduler.residence, emit, self._max_tokens)

    def _deliver(self, callback: Callable[[], None]) -> None:
        """Run `callback` before the next step; called from any thread."""
        self._arrived.append(callback)
        self._wake()

    def add(self, work: Work) -> None:
        """Take a sequence. One that can never fit, or that is known already, fails at once."""
        is_known, has_guard = self._is_known(work.id), self._open_guard is not None
        num_cells = self.backend.capabilities.num_cells
        problem = why_not_add(work, num_cells=num_cells, is_known=is_known, has_guard=has_guard)
        if problem is not None:
            return self._emit(problem)
        sequence = self._begun(work, self._now())
        if sequence is None:
            return None
        try:
            self._emit_delta(sequence.jump())
        except EngineFailure as error:
            return self._fail(sequence, error)
        return self._finish(sequence) if sequence.reason is not None else self.scheduler.waiting.append(sequence)

    def _is_known(self, id: str) -> bool:
        return id in self._sequences or self._steered(id) is not None

    def _begun(self, work: Work, now: float) -> Sequence | None:
        """Return a new sequence; None when its grammar or its guard cannot be had, which has then been told."""
        self._arrivals += 1
        try:
            constraint = self.grammars.constraint(work.constraint) if work.constraint is not None else None
            guard = self._open_guard(work.guard, constraint is None) if self._open_guard and work.guard else None
        except (EngineFailure, GuardFailure) as error:
            self._emit(Failure(work.id, error.code or "invalid_value", error.message))
            return None
        kind = Sequence if guard is None else partial(GuardedSequence, guard=guard)
        own, drafts = (work, self._arrivals, self.backend.tokenizer, now), self.drafting.drafts(work)
        sequence: Sequence = kind(*own, constraint=constraint, drafts=drafts)
        self._sequences[work.id] = sequence
        return sequence

    def cancel(self, id: str) -> None:
        """End a sequence now; its KV stays warm. Unknown ids are ignored: it has just finished.

        A successor that waits for its turn takes its predecessor with it.
        """
        predecessor = self._steered(id)
        if predecessor is not None:
            predecessor.successor = None
            self._end(predecessor, "cancelled")
            self._emit(Finish(id, "cancelled", NO_USAGE))
        elif (sequence := self._sequences.get(id)) is not None:
            self._end(sequence, "cancelled")

    def _steered(self, id: str) -> Sequence | None:
        """Return the sequence whose successor is to be `id`."""
        steered = (s for s in self._sequences.values() if s.successor is not None and s.successor.work.id == id)
        return next(steered, None)

    def steer(self, id: str, work: Work) -> None:
        """End `id` at its next safe boundary and go on as `work`; see `EngineClient.steer`."""
        predecessor, sequence = self._steered(id), self._sequences.get(id)
        problem = why_not(id, work, predecessor or sequence, is_known=self._is_known(work.id))
        if problem is not None:
            return self._emit(problem)
        if predecessor is not None and predecessor.successor is not None:
            # Its words follow those that wait already; the answer between them stays empty.
            tokens = predecessor.successor.work.tokens + work.tokens
            predecessor.successor.work = msgspec.structs.replace(work, tokens=tokens)
            return self._emit(Finish(id, "steered", NO_USAGE))
        assert sequence is not None
        sequence.successor = begin(work, self._now(), sequence.num_output)
        may_end = sequence.is_at_boundary(self._now()) or sequence.may_end_while_preempted
        return self._end(sequence, "steered") if may_end else None

    def rewind(self, id: str, to_token: int, ban: tuple[int, ...] = (), hint: tuple[int, ...] = ()) -> None:
        """Take output tokens of `id` back; see `EngineClient.rewind`."""
        sequence = self._sequences.get(id)
        if sequence is None:
            return None
        try:
            self._take_back.asked(sequence, to_token, ban, hint)
        except EngineFailure as error:  # no such tokens, or the grammar does not allow them
            return self._fail(sequence, error)
        return self._finish(sequence) if sequence.reason is not None else None

    def step(self) -> bool:
        """Run one step; return False when there was nothing to do."""
        while self._arrived:
            self._arrived.popleft()()
        started = self._now()
        plan = self.scheduler.plan()
        if not plan:
            return False
        num_drafted = self.drafting.begin_step(plan, self.scheduler)
        num_rows, num_tokens = sum([rows for _, rows in plan]) + num_drafted, self.scheduler.num_tokens
        computing = self._now()
        outputs = self._compute(plan)
        now = self._now()
        if outputs is not None:
            self._counters.num_rows += num_rows
            if not self.drafting.observe(num_rows, now - computing, num_tokens, num_drafted):
                self.scheduler.cost.observe(num_rows, now - computing, num_tokens)
            for (sequence, rows), output in zip(plan, outputs, strict=True):
                self._advance(sequence, rows, output, started, now)
        self._counters.num_steps += 1
        self._counters.step_seconds += self._now() - started
        return True

    def _compute(self, plan: Plan) -> list[Output] | None:
        """Run the batch; None when it was aborted, or failed and took its sequences with it."""
        try:
            return self.batch.run(plan)
        except Aborted:
            return None
        except EngineFailure as error:
            for sequence, _ in plan:
                self._fail(sequence, error)
            return None

    def _advance(self, sequence: Sequence, rows: int, output: Output, started: float, now: float) -> None:
        """Verify, accept and emit what one step yielded for one sequence."""
        if sequence.started_at is None:
            self._begin(sequence, started)
        is_last = rows == sequence.num_uncomputed
        try:
            tokens = sequence.verify(output) if is_last else []
            sequence.num_computed += rows
            if tokens:
                self._accept(sequence, tokens, now)
        except (EngineFailure, GuardFailure) as error:
            return self._fail(sequence, error)
        if is_last and sequence.work.max_tokens == 0:
            sequence.reason = "length"
        elif not tokens and not sequence.num_output:
            self._report_progress(sequence, now)
        self.scheduler.residence.advance(sequence)
        if sequence.reason is not None:
            self._finish(sequence)
        elif sequence.successor is not None and sequence.is_at_boundary(now):
            self._end(sequence, "steered")
        return None

    def _begin(self, sequence: Sequence, started: float) -> None:
        sequence.started_at = started
        self._counters.num_prompt_tokens += sequence.num_prompt
        self._counters.num_cached_tokens += sequence.num_cached

    def _accept(self, sequence: Sequence, tokens: list[int], now: float) -> None:
        """Take the tokens of a step; all of them but the last are in the backend's KV already."""
        num_before, num_ahead, num_drafted = sequence.num_output, len(tokens) - 1, sequence.num_drafted
        delta = sequence.accept(tokens)
        self.drafting.learn(sequence, tokens, sequence.num_output - num_before)
        if sequence.first_token_at is None:
            sequence.first_token_at = now
        sequence.last_token_at = now
        if num_ahead or num_drafted:
            sequence.num_computed = min(sequence.num_computed + num_ahead, len(sequence.tokens))
            if sequence.reason is not None or num_drafted > num_ahead:
                self.backend.trim(sequence.slot, sequence.num_computed)
        self._counters.num_output_tokens += sequence.num_output - num_before
        self._emit_delta(delta)
        if isinstance(sequence, GuardedSequence):
            self._take_back.judge(sequence)
        self._emit_delta(sequence.jump())

    def _emit_delta(self, delta: Delta | None) -> None:
        if delta is not None:
            self._emit(delta)

    def _report_progress(self, sequence: Sequence, now: float) -> None:
        if now - self._progress_at.get(sequence.id, 0.0) >= PROGRESS_SECONDS:
            self._progress_at[sequence.id] = now
            self._emit(Progress(sequence.id, sequence.num_computed, sequence.num_prompt))

    def _end(self, sequence: Sequence, reason: FinishReason) -> None:
        self._emit_delta(sequence.end(reason))
        self._finish(sequence)

    def _finish(self, sequence: Sequence) -> None:
        assert sequence.reason is not None
        if isinstance(sequence, GuardedSequence):
            self._take_back.end(sequence)
        steer, sequence.successor = sequence.successor, None
        if steer is not None and sequence.reason != "cancelled":
            self._succeed(sequence, steer)
            self._emit_finish(sequence)
        else:
            self._emit_finish(sequence)  # first, so that the client does not wait for its KV to be saved
            self._forget(sequence, keep=True)
        if steer is not None and sequence.reason == "cancelled":
            self._emit(Failure(steer.work.id, "not_running", f"{sequence.id!r} was cancelled before"))

    def _emit_finish(self, sequence: Sequence) -> None:
        output = sequence.tokens[sequence.num_prompt :]
        self.drafting.keep(sequence.work.scope, output)
        self._emit(Finish(sequence.id, sequence.reason or "stop", sequence.usage(), output))

    def _succeed(self, sequence: Sequence, steer: Steer) -> None:
        """Put the successor into the place of `sequence`; nothing is saved, copied or computed again."""
        tokens = sequence.tokens + steer.work.tokens
        room = self._max_tokens - len(tokens)
        if room < min(1, steer.work.max_tokens):
            message = f"{len(tokens)} tokens of history and new words do not fit into {self._max_tokens}"
            self._emit(Failure(steer.work.id, "context_length_exceeded", message))
            return self._forget(sequence, keep=True)
        work = msgspec.structs.replace(
            steer.work, tokens=tokens, max_tokens=min(steer.work.max_tokens, room), scope=sequence.work.scope
        )
        successor = self._begun(work, steer.asked_at)
        if successor is not None:
            self.scheduler.hand_over(sequence, successor)
        return self._forget(sequence, keep=successor is None)

    def _fail(self, sequence: Sequence, error: FiresteelError) -> None:
        self._forget(sequence, keep=False)
        code = error.code or "engine_failure"
        self._emit(Failure(sequence.id, code, error.message))
        if sequence.successor is not None:
            self._emit(Failure(sequence.successor.work.id, code, error.message))

    def _forget(self, sequence: Sequence, *, keep: bool) -> None:
        self.scheduler.retire(sequence, keep=keep)
        sequence.close()
        self._sequences.pop(sequence.id, None)
        self._progress_at.pop(sequence.id, None)

    def statistics(self) -> Statistics:
        """Return a snapshot of the counters."""
        return self._counters.snapshot(self.scheduler, self.warm, self.drafting, self.backend.native_seconds)

    def close(self) -> None:
        """Cancel everything and free the backend; what is warm stays on disk."""
        for id in list(self._sequences):
            self.cancel(id)
        self.drafting.close()
        self.warm.close()
        self.backend.close()
