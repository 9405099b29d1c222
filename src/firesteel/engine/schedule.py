"""Which rows a step computes. There are no phases: computed tokens chase known tokens under a budget."""

from collections import deque

from firesteel.backend.base import Backend
from firesteel.config import EngineConfig
from firesteel.engine.cost import StepCost
from firesteel.engine.kv.cells import Cells
from firesteel.engine.kv.host import HostCache, num_common, token_array
from firesteel.engine.sequence import Sequence
from firesteel.types import State

Plan = list[tuple[Sequence, int]]  # each sequence at most once, with its number of rows

FIRST_MIXED_ROWS = 16  # prompt rows beside another stream before any step has been timed
HEADROOM_TOKENS = 64  # cells that must be free beyond a sequence's tokens, so that it is not preempted at once
MIN_CACHED_TOKENS = 16  # shorter prefixes are cheaper to compute than to move


class Scheduler:
    """Owns the waiting and the running sequences, their slots and their cells."""

    def __init__(self, backend: Backend, config: EngineConfig) -> None:
        self._backend = backend
        self._capabilities = backend.capabilities
        self._max_gap_seconds = config.max_gap_seconds
        self._free_slots = list(range(self._capabilities.max_sequences))
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []  # oldest first
        self.cells = Cells(self._capabilities.num_cells)
        self.host = HostCache(config.cache_bytes)
        self.cost = StepCost()
        self.num_preemptions = 0

    def plan(self) -> Plan:
        """Admit what fits, make room for the next tokens, and return the rows of the next step."""
        if self.waiting and self._free_slots:
            self._admit()
        plan = self._rows()
        while self._num_cells_needed(plan) > self.cells.num_free:
            self._preempt(self.running[-1])
            plan = self._rows()
        return plan

    def _num_cells_needed(self, plan: Plan) -> int:
        """Return the cells that a step may fill: its rows, and what a multi-token step adds beyond them."""
        num_cells = sum(rows for _, rows in plan)
        if self._capabilities.max_step_tokens > 1:
            num_cells += sum(sequence.step_limit(self._capabilities.max_step_tokens) - 1 for sequence, _ in plan)
        return num_cells

    def _rows(self) -> Plan:
        """Give every stream its one row, then the rest of the budget to prompts."""
        plan = [(sequence, 1) for sequence in self.running if sequence.num_uncomputed == 1]
        if len(plan) == len(self.running):
            return plan
        prompts = [sequence for sequence in self.running if sequence.num_uncomputed > 1]
        return plan + _shares(prompts, self._prompt_budget(len(plan)))

    def _prompt_budget(self, num_streams: int) -> int:
        limit = min(self._capabilities.chunk_rows, self._capabilities.max_rows - num_streams)
        if num_streams == 0:
            return limit
        rows = self.cost.rows_within(self._max_gap_seconds, default=FIRST_MIXED_ROWS + num_streams)
        return max(1, min(limit, rows - num_streams))

    def _admit(self) -> None:
        """Start waiting sequences in order of arrival; one that awaits another's prefix is passed over."""
        for sequence in list(self.waiting):
            promised = sum(other.num_uncomputed for other in self.running)
            num_needed = len(sequence.tokens) + min(sequence.num_remaining, HEADROOM_TOKENS)
            if not self._free_slots or num_needed + promised > self.cells.num_free:
                return
            if self._must_wait(sequence):
                continue
            self.waiting.remove(sequence)
            self._start(sequence)

    def _must_wait(self, sequence: Sequence) -> bool:
        """Return whether a running sequence is still computing a prefix that `sequence` can then fork."""
        if sequence.parked is not None or not self._capabilities.can_fork:
            return False
        if sequence.awaits is None:
            sequence.awaits = self._prefix_source(sequence)
        source = sequence.awaits
        if source is None or source.state is not State.RUNNING:
            sequence.awaits = None
            return False
        return source.num_computed < min(_num_shared(source, sequence), source.num_prompt)

    def _prefix_source(self, sequence: Sequence) -> Sequence | None:
        """Return the running sequence whose known tokens share the longest prefix worth forking."""
        shared = [(_num_shared(other, sequence), -other.arrival, other) for other in self.running]
        best = max(shared, default=None, key=lambda entry: entry[:2])
        return best[2] if best and best[0] >= MIN_CACHED_TOKENS else None

    def _start(self, sequence: Sequence) -> None:
        sequence.slot = self._free_slots.pop()
        if sequence.parked is not None:
            self._backend.load(sequence.slot, sequence.parked)
            sequence.parked = None
        else:
            sequence.num_computed = sequence.num_cached = self._reuse_prefix(sequence)
        self.cells.lease(sequence.slot, sequence.num_computed)
        sequence.state, sequence.awaits = State.RUNNING, None
        self.running.append(sequence)
        self.running.sort(key=lambda other: other.arrival)

    def _reuse_prefix(self, sequence: Sequence) -> int:
        """Fork or load the longest known prefix; at least one token is left to compute, for its logits."""
        longest = len(sequence.tokens) - 1
        source = self._prefix_source(sequence) if self._capabilities.can_fork else None
        num_live = min(longest, source.num_computed, _num_shared(source, sequence)) if source else 0
        entry, num_host = self.host.match(sequence.prompt)
        num_host = min(num_host, longest)
        if entry is None or num_host < MIN_CACHED_TOKENS or not self._fits_trimmed(len(entry.tokens), num_host):
            num_host = 0
        if source is not None and MIN_CACHED_TOKENS <= num_live >= num_host:
            self._backend.fork(source.slot, sequence.slot, num_live)
            return num_live
        if entry is not None and num_host:
            self._backend.load(sequence.slot, entry.state)
            if num_host < len(entry.tokens):
                self._backend.trim(sequence.slot, num_host)
        return num_host

    def _fits_trimmed(self, num_stored: int, num_kept: int) -> bool:
        """Return whether a stored KV fits while it is loaded, and may be cut to `num_kept` positions."""
        return num_stored <= self.cells.num_free and (self._capabilities.can_trim or num_stored == num_kept)

    def _preempt(self, sequence: Sequence) -> None:
        """Move the youngest sequence's KV to host memory; it resumes from there, first in line."""
        assert len(self.running) > 1, "a sequence that fits alone must never be preempted"
        if sequence.num_computed:
            sequence.parked = self._backend.save(sequence.slot)
        self._leave(sequence)
        sequence.state = State.PREEMPTED
        self.waiting.appendleft(sequence)
        self.num_preemptions += 1

    def retire(self, sequence: Sequence, *, keep: bool) -> None:
        """Take a finished, cancelled or failed sequence out; with `keep`, its KV rests in host memory."""
        if sequence.state is State.RUNNING:
            if keep and sequence.num_computed >= MIN_CACHED_TOKENS and self.host.max_bytes:
                state = self._backend.save(sequence.slot)
                tokens = token_array(sequence.tokens[: sequence.num_computed])
                self.host.put(tokens, state, self._backend.state_bytes(state))
            self._leave(sequence)
        elif sequence in self.waiting:
            self.waiting.remove(sequence)
        sequence.parked = None
        sequence.state = State.FINISHED

    def _leave(self, sequence: Sequence) -> None:
        self._backend.trim(sequence.slot, 0)
        self.cells.release(sequence.slot)
        self._free_slots.append(sequence.slot)
        sequence.slot = -1
        self.running.remove(sequence)


def _shares(prompts: list[Sequence], budget: int) -> Plan:
    """Share `budget` rows: half for the oldest, so that it never starves, the rest by who is done soonest."""
    oldest = prompts[0]
    reserved = min(oldest.num_uncomputed, (budget + 1) // 2)
    budget -= reserved
    plan: Plan = []
    for sequence in sorted(prompts[1:], key=lambda other: other.num_uncomputed):
        rows = min(sequence.num_uncomputed, budget)
        if rows:
            plan.append((sequence, rows))
            budget -= rows
    return [(oldest, min(oldest.num_uncomputed, reserved + budget)), *plan]


def _num_shared(source: Sequence, sequence: Sequence) -> int:
    """Return how many tokens both begin with; the last one of `sequence` must be computed, so it never counts."""
    shared = num_common(source.prompt, sequence.prompt)
    if shared == source.num_prompt:
        shared = num_common(token_array(source.tokens), sequence.prompt)
    return min(shared, sequence.num_prompt - 1)
