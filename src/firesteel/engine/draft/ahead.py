"""The thread that owns the draft model: it computes beside the target, where more tokens will most likely be needed.

libllama releases the interpreter lock while it computes, so one process is enough. Drafting runs ahead of
verification as in PEARL (arXiv 2408.11850) and AMUSD (arXiv 2410.17375), along the outcomes of `draft.outcomes`.
"""

import logging
import os
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress

from firesteel.backend.base import Aborted, Backend, Rows, Want
from firesteel.engine.draft.base import num_common
from firesteel.engine.draft.lines import Job, Line, Slot
from firesteel.engine.draft.outcomes import Frontier, Limits, Option, likeliest
from firesteel.errors import EngineFailure

# On shared cores the target goes first, else it would wait at every barrier; libllama's threads inherit it.
DRAFT_NICENESS = 10
WORTH_A_FORK = 64  # tokens of a live sequence's KV

log = logging.getLogger("firesteel")


class DraftThread:
    """Computes for the lines that are told to grow. All methods are for the engine's thread."""

    def __init__(self, backend: Backend, vocabulary_size: int) -> None:
        """Take over `backend`; it proposes tokens below `vocabulary_size` only."""
        self._backend = backend
        self._size = min(vocabulary_size, backend.tokenizer.vocabulary_size)
        limit = backend.capabilities
        self._max_rows = min(limit.chunk_rows, limit.max_rows)
        self._max_nodes = min(limit.max_wanted_rows, self._max_rows)
        self._slots = [Slot(number) for number in range(limit.max_sequences)]
        self._changed = threading.Condition()
        self._is_closing = False
        self._is_idle = False
        self.is_off = False  # it has failed, or was closed
        self.num_steps = 0  # of the draft backend
        self._thread = threading.Thread(target=self._run, name="draft", daemon=True)
        self._thread.start()

    @property
    def num_slots(self) -> int:
        """How many sequences it can draft for."""
        return len(self._slots)

    def claim(self, line: Line) -> bool:
        """Return whether `line` has a slot, giving it one that is free: where most of it is held already."""
        with self._changed:
            if line.slot is None and not line.is_lost:
                line.is_lost = max(line.known, default=0) >= self._size
                free = [slot for slot in self._slots if slot.line is None]
                if free:
                    max(free, key=lambda slot: num_common(slot.held, line.known)).give(line)
            return line.slot is not None and not line.is_lost and not self.is_off

    def accept(self, line: Line, tokens: list[int]) -> None:
        """Take in output that `line` gained."""
        with self._changed:
            line.known += tokens
            line.outcomes.advance(tokens)
            line.is_lost |= max(tokens, default=0) >= self._size

    def rewind(self, line: Line, num_prompt: int, output: list[int]) -> None:
        """Go back to where the output of `line` was `output`."""
        with self._changed:
            line.rewind(num_prompt, output)

    def grow(self, line: Line, limits: Limits, count: int, draft: Iterable[Option] = ()) -> None:
        """Let the tree of `line` grow by `count` nodes within `limits`; `draft`: what is being verified."""
        assumed = list(draft)
        with self._changed:
            line.limits, line.num_left = limits, count
            line.outcomes.assume((token for token, _ in assumed), (chance for _, chance in assumed))
            self._changed.notify_all()

    def pause(self, line: Line) -> None:
        """Prepare nothing more for `line`."""
        if line.limits is not None:
            with self._changed:
                line.limits = None

    def wait(self, line: Line, seconds: float) -> None:
        """Wait until `line` has grown to its limits, `seconds` at most."""
        with self._changed:
            self._changed.wait_for(
                lambda: self.is_off or line.is_lost or line.frontier(self._max_nodes) is None, seconds
            )

    def best(self, line: Line, max_tokens: int) -> list[Option]:
        """Return what is prepared for what `line` knows; empty on a miss."""
        with self._changed:
            return line.outcomes.best(max_tokens)

    def lag(self, line: Line) -> int:
        """Return how many known tokens of `line` the draft model has not computed."""
        with self._changed:
            return line.lag

    def settle(self, seconds: float) -> bool:
        """Wait until nothing is left to prepare, `seconds` at most; return whether it came to that."""
        with self._changed:
            self._is_idle = self.is_off
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._is_idle, seconds)

    def close(self) -> None:
        """Interrupt what runs, free the backend and join the thread."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._backend.abort()
        self._thread.join()

    def _run(self) -> None:
        _yield_to_the_target()
        try:
            while self._work():
                pass
        except EngineFailure as error:
            log.warning("the draft model has failed and drafts no more; answers go on without it: %s", error)
        finally:
            with self._changed:
                self.is_off = self._is_idle = True
                self._changed.notify_all()
            self._backend.close()

    def _work(self) -> bool:
        """Run one step; False at the end. What it holds of a line is let go before it waits for the next."""
        job = self._next()
        if job is None:
            return False
        with suppress(Aborted):
            self._compute(job)
        return True

    def _next(self) -> Job | None:
        with self._changed:
            while not self._is_closing:
                job = self._job()
                if job is not None:
                    return job
                self._is_idle = True
                self._changed.notify_all()
                self._changed.wait()
        return None

    def _job(self) -> Job | None:
        """Return what will most likely be needed, over all lines."""
        best: tuple[float, Slot, Line, Frontier] | None = None
        for slot in self._slots:
            line = slot.line
            frontier = line.frontier(self._max_nodes) if line is not None else None
            if line is not None and frontier is not None and (best is None or frontier.chance > best[0]):
                best = frontier.chance, slot, line, frontier
        if best is None:
            return None
        _, slot, line, frontier = best
        if slot.is_new:
            self._take_over(slot, line)
        job = slot.job(line, frontier, self._max_rows)
        if self._has_room(slot, job.end):
            return job
        line.is_lost = True
        return self._job()

    def _has_room(self, slot: Slot, num_tokens: int) -> bool:
        """Return whether `slot` may hold `num_tokens`; what ended sequences left goes for it."""
        free = self._backend.capabilities.num_cells - num_tokens
        for other in self._slots:
            free -= len(other.held) if other is not slot else 0
        for other in self._slots:
            if free < 0 and other is not slot and other.line is None:
                free += len(other.held)
                self._trim(other, 0)
        return free >= 0

    def _trim(self, slot: Slot, to: int) -> None:
        if to < len(slot.held):
            self._backend.trim(slot.number, to)
            del slot.held[to:]

    def _take_over(self, slot: Slot, line: Line) -> None:
        """Let a new sequence begin with what another, still live, has in common with it: the one it steers."""
        slot.is_new = False
        source = max(self._slots, key=lambda other: num_common(other.held, line.known))
        num_shared = num_common(source.held, line.known)
        gain = num_shared - num_common(slot.held, line.known)
        if gain >= WORTH_A_FORK and self._backend.capabilities.can_fork:
            self._trim(slot, 0)
            self._backend.fork(source.number, slot.number, num_shared)
            slot.held = source.held[:num_shared]

    def _compute(self, job: Job) -> None:
        """Run one step and put what it says into the tree; nodes that were dropped meanwhile do no harm."""
        slot, nodes = job.slot, job.nodes
        with self._changed:
            self._trim(slot, job.start)
        want = Want.LOGITS if nodes else Want.NONE
        rows = Rows(slot.number, job.start, job.tokens, want, num_draft=max(0, len(nodes) - 1))
        self._backend.submit([rows])
        if self._is_closing:
            self._backend.abort()
        (output,) = self._backend.wait()
        said = [likeliest(logits[: self._size]) for logits in output.logits]
        with self._changed:
            self.num_steps += 1
            job.line.num_left -= len(nodes)
            slot.held += job.tokens
            for node, options in zip(nodes, said, strict=True):
                node.options = options
            self._changed.notify_all()


def _yield_to_the_target() -> None:
    """Lower this thread's priority; on Linux niceness belongs to the thread, and those it starts."""
    if sys.platform == "linux":
        with suppress(OSError):  # a sandbox may forbid it
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), DRAFT_NICENESS)
