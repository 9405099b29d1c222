"""Which rows a step computes. There are no phases: computed tokens chase known tokens under a budget."""

from collections import Counter, deque

from firesteel.backend.base import Backend
from firesteel.config import EngineConfig
from firesteel.engine.cost import StepCost
from firesteel.engine.kv.prefix import BLOCK_TOKENS
from firesteel.engine.kv.warm import WarmKV
from firesteel.engine.residence import Residence, num_shared
from firesteel.engine.sequence import Sequence
from firesteel.types import State

Plan = list[tuple[Sequence, int]]  # each sequence at most once, with its number of rows

FIRST_MIXED_ROWS = 16  # prompt rows beside another stream before any step has been timed
MAX_TURNS = 1024  # scopes whose last turn is remembered
HEADROOM_TOKENS = 64  # cells that must be free beyond a sequence's tokens, so that it is not preempted at once


class Scheduler:
    """Owns the waiting sequences and decides which of them become live."""

    def __init__(self, backend: Backend, config: EngineConfig, warm: WarmKV) -> None:
        self._capabilities = backend.capabilities
        self._max_gap_seconds = config.max_gap_seconds
        self.residence = Residence(backend, warm)
        self.running = self.residence.running
        self.waiting: deque[Sequence] = deque()
        self.cost = StepCost()
        self.num_preemptions = 0
        self._last_turns: dict[str, None] = {}  # scopes, whose turn was last at the end

    @property
    def num_tokens(self) -> int:
        """Tokens of history in the context."""
        return self.residence.cells.num_leased

    def plan(self) -> Plan:
        """Admit what fits, make room for the next tokens, and return the rows of the next step."""
        if self.waiting and self.residence.has_slot:
            self._admit()
        plan = self._rows()
        while self._num_cells_needed(plan) > self.residence.cells.num_free:
            self._preempt(self.running[-1])
            plan = self._rows()
        return plan

    def num_free_beside(self, plan: Plan) -> int:
        """Return the cells that a step may fill beside its own rows."""
        return self.residence.cells.num_free - self._num_cells_needed(plan)

    def _num_cells_needed(self, plan: Plan) -> int:
        """Return the cells that a step may fill: its rows, and what a multi-token step adds beyond them."""
        num_cells = sum(rows for _, rows in plan)
        if self._capabilities.max_step_tokens > 1:
            num_cells += sum(sequence.step_limit(self._capabilities.max_step_tokens) - 1 for sequence, _ in plan)
        return num_cells

    def _rows(self) -> Plan:
        """Give every stream its rows, mostly one, then the rest of the budget to prompts."""
        plan = self._stream_rows()
        if len(plan) == len(self.running):
            return plan
        prompts = [sequence for sequence in self.running if not sequence.is_stream]
        budget = self._prompt_budget(sum(rows for _, rows in plan))
        return plan + _shares(prompts, budget) if budget else plan

    def _stream_rows(self) -> Plan:
        """Give every stream a row, and those with forced text a fair part of what is left."""
        wanted = [(sequence, sequence.num_uncomputed) for sequence in self.running if sequence.is_stream]
        if sum([rows for _, rows in wanted]) == len(wanted):
            return wanted
        left = self._capabilities.max_rows
        if len(wanted) > 1:
            left = min(left, max(len(wanted), self._rows_within_gap(len(wanted))))
        plan = []
        for num_before, (sequence, rows) in enumerate(wanted):
            plan.append((sequence, min(rows, left // (len(wanted) - num_before))))
            left -= plan[-1][1]
        return plan

    def _rows_within_gap(self, num_stream_rows: int) -> int:
        default = FIRST_MIXED_ROWS + num_stream_rows
        return self.cost.rows_within(self._max_gap_seconds, default=default, num_tokens=self.num_tokens)

    def _prompt_budget(self, num_stream_rows: int) -> int:
        limit = min(self._capabilities.chunk_rows, self._capabilities.max_rows - num_stream_rows)
        if num_stream_rows == 0:
            return limit
        return min(limit, max(1, self._rows_within_gap(num_stream_rows) - num_stream_rows))

    def _admit(self) -> None:
        """Start waiting sequences in their turn; one that awaits a prefix is passed over."""
        for sequence in self._in_turn():
            if not self.residence.has_slot:
                return
            if sequence.is_fetching or self._must_wait(sequence):
                continue
            if not self._fits(sequence):
                return
            if self.residence.fetch(sequence):
                continue
            self.waiting.remove(sequence)
            self._note_turn(sequence.work.scope)
            self.residence.enter(sequence)

    def _note_turn(self, scope: str) -> None:
        """Remember that it was the turn of `scope`: who was least lately served goes first among equals."""
        self._last_turns.pop(scope, None)
        self._last_turns[scope] = None
        if len(self._last_turns) > MAX_TURNS:
            del self._last_turns[next(iter(self._last_turns))]

    def _in_turn(self) -> list[Sequence]:
        """Return the waiting sequences, those first whose scope has fewest before them; preempted ones above all.

        The router hands over few more than can run, and those of somebody new first of all: without this they
        would wait for what was handed over before (`router/admission.py`).
        """
        num_before = Counter(sequence.work.scope for sequence in self.running)
        if len({*num_before, *(sequence.work.scope for sequence in self.waiting)}) < 2:
            return list(self.waiting)
        turns = {scope: number for number, scope in enumerate(self._last_turns)}
        ranks = []
        for place, sequence in enumerate(self.waiting):
            scope = sequence.work.scope
            rank = -1 if sequence.parked is not None else num_before[scope]
            num_before[scope] += 1
            ranks.append((rank, turns.get(scope, -1), place, sequence))
        return [sequence for *_, sequence in sorted(ranks, key=lambda ranked: ranked[:3])]

    def _fits(self, sequence: Sequence) -> bool:
        """Return whether all that is known of `sequence` fits beside what the live ones still have to compute."""
        promised = sum(other.num_uncomputed for other in self.running)
        num_needed = len(sequence.tokens) + min(sequence.num_remaining, HEADROOM_TOKENS)
        if sequence.parked is None:
            num_needed -= self.residence.live_prefix(sequence)[1] // BLOCK_TOKENS * BLOCK_TOKENS  # shared cells
        return num_needed + promised <= self.residence.cells.num_free

    def _must_wait(self, sequence: Sequence) -> bool:
        """Return whether a running sequence is still computing a prefix that `sequence` can then fork."""
        if sequence.parked is not None:
            return False
        if sequence.awaits is None:
            sequence.awaits = self.residence.prefix_source(sequence)
        source = sequence.awaits
        if source is None or source.state is not State.RUNNING:
            sequence.awaits = None
            return False
        return source.num_computed < min(num_shared(source, sequence), source.num_prompt)

    def _preempt(self, sequence: Sequence) -> None:
        """Take the youngest sequence out of the context; it goes on from there, first in line."""
        assert len(self.running) > 1, "a sequence that fits alone must never be preempted"
        self.residence.park(sequence)
        self.waiting.appendleft(sequence)
        self.num_preemptions += 1

    def retire(self, sequence: Sequence, *, keep: bool) -> None:
        """Take a finished, cancelled or failed sequence out; with `keep`, its KV stays warm."""
        if sequence.state is State.RUNNING:
            self.residence.leave(sequence, keep=keep)
        elif sequence in self.waiting:
            self.waiting.remove(sequence)
        sequence.parked = None
        sequence.state = State.FINISHED
        self.residence.release_prefix(sequence)

    def hand_over(self, sequence: Sequence, successor: Sequence) -> None:
        """Let `successor` go on in the place of `sequence`, live or waiting."""
        self.residence.hand_over(sequence, successor)
        if sequence in self.waiting:
            self.waiting[self.waiting.index(sequence)] = successor
        sequence.state = State.FINISHED


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
