"""Which sequences live in the context, and how their KV gets in and out: fork, restore, park, keep."""

from collections.abc import Callable
from typing import cast

from firesteel.backend.base import Backend, DeviceDrafting
from firesteel.engine.kv.cells import Cells
from firesteel.engine.kv.prefix import BLOCK_TOKENS, num_common
from firesteel.engine.kv.warm import WarmKV
from firesteel.engine.sequence import Sequence
from firesteel.types import State

MIN_SHARED_TOKENS = 16  # shorter prefixes of live sequences are not worth waiting for


class Residence:
    """Slots, cells and warm KV. `running` holds the live sequences, oldest first."""

    def __init__(self, backend: Backend, warm: WarmKV) -> None:
        self._backend = backend
        self._capabilities = backend.capabilities
        self._free_slots = list(range(self._capabilities.max_sequences))
        self.cells = Cells(self._capabilities.num_cells)
        self.warm = warm
        self.running: list[Sequence] = []

    @property
    def has_slot(self) -> bool:
        """Whether another sequence may become live."""
        return bool(self._free_slots)

    def fetch(self, sequence: Sequence) -> bool:
        """Begin to bring from disk what `sequence` begins with; False when it need not wait for that."""
        if sequence.parked is not None or sequence.has_fetched:
            return False

        def arrived(release: Callable[[], None] | None) -> None:
            """Without `release`, another sequence has fetched: look again what is missing."""
            sequence.is_fetching, sequence.has_fetched = False, release is not None
            sequence.release_prefix = release
            if sequence.state is State.FINISHED:
                self.release_prefix(sequence)

        sequence.is_fetching = self.warm.fetch(sequence.work.scope, sequence.prompt[:-1], arrived)
        return sequence.is_fetching

    def release_prefix(self, sequence: Sequence) -> None:
        """Let go of what was fetched for `sequence`: it has been loaded, or is not wanted any more."""
        if sequence.release_prefix is not None:
            sequence.release_prefix()
            sequence.release_prefix = None

    def enter(self, sequence: Sequence) -> None:
        """Make `sequence` live, from the longest prefix that is known."""
        sequence.slot = self._free_slots.pop()
        if sequence.parked is not None:
            self._unpark(sequence)
        else:
            sequence.num_computed = sequence.num_cached = self._reuse_prefix(sequence)
            sequence.num_kept = sequence.num_computed // BLOCK_TOKENS * BLOCK_TOKENS
        self.release_prefix(sequence)
        self.cells.lease(sequence.slot, sequence.num_computed)
        self._expect(sequence)
        sequence.state, sequence.awaits = State.RUNNING, None
        self.running.append(sequence)
        self.running.sort(key=lambda other: other.arrival)

    def _expect(self, sequence: Sequence) -> None:
        """Tell a backend that guesses by itself what the answer is expected to repeat."""
        if self._capabilities.can_draft:
            backend = cast("DeviceDrafting", self._backend)
            backend.expect(sequence.slot, sequence.work.prediction, sequence.num_prompt)

    def _unpark(self, sequence: Sequence) -> None:
        """Load the KV that a preempted sequence left with; what a rewind took back meanwhile goes."""
        if not self._backend.load(sequence.slot, sequence.parked):
            sequence.num_computed = 0
        elif sequence.num_computed < sequence.num_parked:
            self._trim(sequence)
        sequence.parked = None

    def _reuse_prefix(self, sequence: Sequence) -> int:
        """Fork or restore the longest known prefix; at least one token is left to compute, for its logits."""
        wanted = sequence.prompt[:-1]
        source, num_live = self.live_prefix(sequence)
        num_resting = self.warm.num_known(sequence.work.scope, wanted)
        if num_resting > num_live:
            num_live = num_live // BLOCK_TOKENS * BLOCK_TOKENS  # blocks follow at their borders only
        if source is not None and num_live:
            self._backend.fork(source.slot, sequence.slot, num_live)
            self.cells.fork(source.slot, sequence.slot, num_live)
        if num_resting <= num_live:
            return num_live
        return self.warm.restore(sequence.slot, sequence.work.scope, wanted, num_live, self.cells.num_free)

    def live_prefix(self, sequence: Sequence) -> tuple[Sequence | None, int]:
        """Return the live sequence to fork now, and how many computed tokens it shares."""
        source = self.prefix_source(sequence)
        if source is None:
            return None, 0
        return source, min(source.num_computed, num_shared(source, sequence))

    def prefix_source(self, sequence: Sequence) -> Sequence | None:
        """Return the live sequence whose known tokens share the longest prefix worth forking."""
        if not self._capabilities.can_fork:
            return None
        scope = sequence.work.scope
        shared = [
            (num_shared(other, sequence), -other.arrival, other) for other in self.running if other.work.scope == scope
        ]
        best = max(shared, default=None, key=lambda entry: entry[:2])
        return best[2] if best and best[0] >= MIN_SHARED_TOKENS else None

    def advance(self, sequence: Sequence) -> None:
        """Account for what a step computed, and save blocks that are full while the sequence goes on."""
        self.cells.lease(sequence.slot, sequence.num_computed)
        num_full = sequence.num_computed // BLOCK_TOKENS * BLOCK_TOKENS
        if num_full > sequence.num_kept and self._capabilities.can_trim:
            tokens = sequence.array(num_full)
            self.warm.keep_from(sequence.slot, sequence.work.scope, tokens, sequence.num_kept)
            sequence.num_kept = num_full

    def rewind(self, sequence: Sequence) -> None:
        """Trim the KV of a live sequence to what it says is computed."""
        if sequence.state is State.RUNNING and sequence.num_computed < self.cells.length(sequence.slot):
            self._trim(sequence)
            self.cells.lease(sequence.slot, sequence.num_computed)
        sequence.num_kept = min(sequence.num_kept, sequence.num_computed // BLOCK_TOKENS * BLOCK_TOKENS)

    def drop(self, sequence: Sequence) -> None:
        """Do the same right after a step, whose KV is not accounted for yet."""
        if sequence.state is State.RUNNING:
            self._trim(sequence)
            self.cells.lease(sequence.slot, sequence.num_computed)
        sequence.num_kept = min(sequence.num_kept, sequence.num_computed // BLOCK_TOKENS * BLOCK_TOKENS)

    def _trim(self, sequence: Sequence) -> None:
        if not self._capabilities.can_trim:
            sequence.num_computed = 0  # the model cannot go back, so it begins again
        self._backend.trim(sequence.slot, sequence.num_computed)

    def park(self, sequence: Sequence) -> None:
        """Move the KV of a sequence that must make room to host memory; it goes on from there."""
        if sequence.num_computed:
            sequence.parked, sequence.num_parked = self._backend.save(sequence.slot), sequence.num_computed
        self._vacate(sequence)
        sequence.state = State.PREEMPTED

    def leave(self, sequence: Sequence, *, keep: bool) -> None:
        """Take a sequence that has ended out of the context; with `keep`, its KV stays warm."""
        if keep and sequence.num_computed:
            self.warm.keep(sequence.slot, sequence.work.scope, sequence.array(sequence.num_computed))
        self._vacate(sequence)

    def hand_over(self, sequence: Sequence, successor: Sequence) -> None:
        """Let `successor`, whose prompt begins with all tokens of `sequence`, take its place and its KV."""
        successor.num_computed = successor.num_cached = sequence.num_computed
        successor.num_kept, successor.state = sequence.num_kept, sequence.state
        successor.slot, sequence.slot = sequence.slot, -1
        successor.parked, successor.num_parked, sequence.parked = sequence.parked, sequence.num_parked, None
        if sequence.state is State.RUNNING:
            self.running[self.running.index(sequence)] = successor
            self._expect(successor)
            self.running.sort(key=lambda other: other.arrival)

    def _vacate(self, sequence: Sequence) -> None:
        self._backend.trim(sequence.slot, 0)
        self.cells.release(sequence.slot)
        self._free_slots.append(sequence.slot)
        sequence.slot = -1
        self.running.remove(sequence)


def num_shared(source: Sequence, sequence: Sequence) -> int:
    """Return how many tokens both begin with; the last one of `sequence` must be computed, so it never counts."""
    shared = num_common(source.prompt, sequence.prompt)
    if shared == source.num_prompt:
        shared = num_common(source.array(len(source.tokens)), sequence.prompt)
    return min(shared, sequence.num_prompt - 1)
