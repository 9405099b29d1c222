"""The running batch: what it computes, and whether it may be interrupted."""

from collections.abc import Callable

from firesteel.backend.base import Backend, Output, Rows
from firesteel.engine.schedule import Plan


class BatchRunner:
    """Runs the batch of one step on the engine's thread; other threads ask what runs, and abort it."""

    def __init__(self, backend: Backend, is_interrupted: Callable[[str], bool]) -> None:
        self._backend = backend
        self._is_interrupted = is_interrupted
        self._max_step_tokens = backend.capabilities.max_step_tokens
        self._can_sample = backend.capabilities.can_sample
        self.stepping: tuple[str, ...] = ()  # ids in the running batch
        self.is_reading = False  # it computes nothing but prompts

    def run(self, plan: Plan) -> list[Output]:
        """Compute the rows of `plan`. Raises `Aborted` and what else the backend raises."""
        try:
            self._backend.submit(self._rows(plan))
            self._begin(plan)
            return self._backend.wait()
        finally:
            self.stepping = ()

    def _rows(self, plan: Plan) -> list[Rows]:
        return [sequence.rows(rows, self._max_step_tokens, can_sample=self._can_sample) for sequence, rows in plan]

    def _begin(self, plan: Plan) -> None:
        """Publish what runs. An interruption posted before this is seen here, one after it sees `stepping`."""
        self.is_reading = all(sequence.num_computed < sequence.num_prompt for sequence, _ in plan)
        self.stepping = tuple([sequence.id for sequence, _ in plan])
        if any(self._is_interrupted(id) and self.may_abort_for(id) for id in self.stepping):
            self._backend.abort()

    def may_abort_for(self, id: str) -> bool:
        """Return whether the running step may be lost when `id` ends; called from any thread.

        Other prompts lose a chunk at most. A stream loses nothing: a step that carries one is short.
        """
        stepping = self.stepping
        return id in stepping and (len(stepping) == 1 or self.is_reading)
