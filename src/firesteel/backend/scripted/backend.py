"""The scripted backend: a deterministic model without weights, a few microseconds a step."""

import os
import signal
from functools import cache

import numpy as np

from firesteel.backend.base import Aborted, Capabilities, Logits, Output, Rows, State, Want
from firesteel.backend.scripted.kv import SequenceKV, count_cells
from firesteel.backend.scripted.plan import Cursor, num_common
from firesteel.backend.scripted.reply import Replies
from firesteel.backend.scripted.script import Script, load_script, max_step_tokens
from firesteel.backend.scripted.states import num_tokens, pack, unpack
from firesteel.backend.scripted.tokenizer import CHAT_TEMPLATE, shared_tokenizer
from firesteel.backend.scripted.vocabulary import NUM_CONTROLS
from firesteel.clock import Clock
from firesteel.config import EngineConfig
from firesteel.errors import EngineFailure
from firesteel.types import ModelInfo

DEFAULT_CELLS = 1_048_576
MAX_CONTEXT = 131_072
STATE_BYTES_PER_TOKEN = 64
STATE_FORMAT = "firesteel-kv=1 backend=scripted-1"
PLANNED_LOGIT = 12.0  # above noise in [0, 1)
CONTROL_LOGIT = -30.0  # so that no temperature invents a turn
SLICE_SECONDS = 0.002  # how soon an abort is noticed
_NUM_NOISES = 16_381

_NONE, _LOGITS = Want.NONE, Want.LOGITS


@cache
def _noise(count: int) -> Logits:
    """Return `count` fixed values in [0, 1), shared by all backends of the process."""
    return np.random.default_rng(20260213).random(count, dtype=np.float32)


class ScriptedBackend:
    """A `Backend` whose next token is a pure function of the tokens in the sequence's KV.

    A BEST output may hold several tokens (the script's `tokens_per_step`). All but the last are computed, so
    the KV's length is position + rows + tokens - 1. LOGITS outputs stand for one token each.
    Contract violations of the engine are AssertionErrors.
    """

    def __init__(self, script: Script | None, config: EngineConfig, clock: Clock, *, can_trim: bool = True) -> None:
        """Take `script`, else the file that `config.script` names, else none. Raises `ConfigError`.

        Without `can_trim` it behaves as a recurrent model: sequences are saved whole, never cut nor forked.
        """
        if script is None:
            script = load_script(config.script) if config.script else Script()
        chunk_rows = config.chunk_tokens or 512
        self.capabilities = Capabilities(
            num_cells=config.context_tokens or DEFAULT_CELLS,
            max_sequences=config.max_live or 256,
            max_rows=max(2048, chunk_rows),
            max_wanted_rows=2048,
            chunk_rows=chunk_rows,
            max_step_tokens=max_step_tokens(script),
            can_trim=can_trim,
            can_fork=can_trim,
            can_abort=can_trim,
        )
        self.info = ModelInfo(
            name="scripted",
            architecture="scripted",
            context_length=min(self.capabilities.num_cells, MAX_CONTEXT),
            chat_template=CHAT_TEMPLATE,
        )
        self.tokenizer = shared_tokenizer()
        self.native_seconds = 0.0  # the delays, which stand for a model's computing
        self._clock = clock
        self._replies = Replies(self.tokenizer, script)
        self._sequences = [SequenceKV() for _ in range(self.capabilities.max_sequences)]
        self._num_tokens = 0  # of all sequences: at least the cells in use, more where forks share
        self._batch: list[Rows] = []
        self._aborted = False
        self._noise = _noise(_NUM_NOISES + self.tokenizer.vocabulary_size)
        self._raised_noise = self._noise + np.float32(PLANNED_LOGIT)

    def submit(self, batch: list[Rows]) -> None:
        """Take a batch. AssertionError: positions that do not continue the KV, too many rows or cells."""
        sequences = self._sequences
        num_rows = 0
        for rows in batch:
            length = len(sequences[rows.sequence].tokens)
            assert rows.position == length, (
                f"sequence {rows.sequence}: rows at {rows.position}, but its KV holds {length} tokens"
            )
            assert rows.tokens, f"sequence {rows.sequence}: rows without tokens"
            num_rows += len(rows.tokens)
        assert not self._batch, "submit before the last batch was waited for"
        assert len({rows.sequence for rows in batch}) == len(batch), "two Rows of one sequence in a batch"
        assert num_rows <= self.capabilities.max_rows, f"{num_rows} rows are more than max_rows"
        assert all(rows.num_draft == 0 or rows.limit == 1 for rows in batch), "a draft, and a step of several tokens"
        self._claim(num_rows)
        self._aborted = False
        self._batch = batch

    def wait(self) -> list[Output]:
        """Compute the submitted batch and return one output per `Rows`.

        Raises `Aborted` after `abort` and `EngineFailure` where the script says so; the KV is then unchanged.
        """
        batch, sequences = self._batch, self._sequences
        for rows in batch:
            sequences[rows.sequence].extend(rows.known)
        if self._aborted or not self._replies.is_free:
            self._pass_time(batch)
        outputs = []
        for rows in batch:
            want = rows.want
            outputs.append(Output() if want == _NONE else self._answer(sequences[rows.sequence], rows))
        self._batch = []
        return outputs

    def _answer(self, kv: SequenceKV, rows: Rows) -> Output:
        """Return the output for the last row of `kv`, and for those of the draft, which are computed here."""
        if rows.num_draft:
            return self._judge(kv, rows)
        cursor = kv.cursor or self._replies.begin(kv)
        index = cursor.follow(kv)
        if rows.want == _LOGITS:
            return Output([], [self._logits(kv, cursor.peek(kv, 1)[0])])
        count = min(cursor.pace.tokens_per_step, rows.limit)
        if count == 1:
            return Output(cursor.peek(kv, 1))
        for halt in cursor.pace.halts:
            if index < halt:
                count = min(count, halt - index)
        free = max(self.capabilities.num_cells - self._num_tokens, 0)
        tokens = cursor.peek(kv, min(count, 1 + free))
        if len(tokens) > 1:
            kv.tokens.fromlist(tokens[:-1])
            self._num_tokens += len(tokens) - 1
        return Output(tokens)

    def _judge(self, kv: SequenceKV, rows: Rows) -> Output:
        """Compute the rows of a draft and return the output of each, the row before them first."""
        draft = rows.draft
        cursor = kv.cursor or self._replies.begin(kv)
        cursor.follow(kv)
        planned = cursor.peek(kv, rows.num_draft + 1)
        if rows.want is Want.BEST and planned[:-1] == draft:
            kv.extend(draft)
            return Output(planned)
        row = Rows(rows.sequence, rows.position, [], rows.want)
        outputs = [self._answer(kv, row)]
        for token in draft:
            kv.extend([token])
            outputs.append(self._answer(kv, row))
        return Output([t for one in outputs for t in one.tokens], [view for one in outputs for view in one.logits])

    def _logits(self, kv: SequenceKV, planned: int) -> Logits:
        """Return noise that depends on the whole history, and the planned token above it; about 2 µs."""
        start = kv.checksum() % _NUM_NOISES
        logits = self._noise[start : start + self.tokenizer.vocabulary_size].copy()
        logits[:NUM_CONTROLS] = CONTROL_LOGIT
        logits[planned] = self._raised_noise[start + planned]
        return logits

    def _pass_time(self, batch: list[Rows]) -> None:
        """Wait as long as the batch takes, or take its rows back and raise `Aborted` or `EngineFailure`."""
        try:
            self._sleep(self._seconds(batch))
        except (Aborted, EngineFailure):
            self._batch = []
            for rows in batch:
                self._drop(rows.sequence, rows.position)
                self._num_tokens -= rows.num_draft  # claimed, never there
            raise

    def _seconds(self, batch: list[Rows]) -> float:
        """Return how long the batch takes; fail or crash where the script says so."""
        step_seconds = prefill_seconds = 0.0
        for rows in batch:
            kv = self._sequences[rows.sequence]
            if rows.want == _NONE:
                prefill_seconds += len(rows.tokens) * self._replies.pace_so_far(kv).prefill_seconds_per_row
                continue
            cursor = kv.cursor or self._replies.begin(kv)
            index = cursor.follow(kv)
            ahead = range(1 + (num_common(cursor.peek(kv, rows.num_draft), rows.draft) if rows.num_draft else 0))
            step_seconds = max(step_seconds, *(self._step_seconds(cursor, index + more) for more in ahead))
            if len(rows.tokens) > 1:
                prefill_seconds += len(rows.tokens) * cursor.pace.prefill_seconds_per_row
        return step_seconds + prefill_seconds

    def _step_seconds(self, cursor: Cursor, index: int) -> float:
        """Return how long the step that says token `index` takes."""
        pace = cursor.pace
        if index == pace.crash_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if index == pace.fail_at:
            raise EngineFailure(f"The script fails at token {index} of this reply. Send the request again.")
        return pace.step_seconds + (pace.stall_seconds if index == pace.stall_at else 0.0)

    def _sleep(self, seconds: float) -> None:
        """Wait in slices. Raises `Aborted` as soon as `abort` was called."""
        start = self._clock.now()
        try:
            while True:
                if self._aborted:
                    raise Aborted
                left = start + seconds - self._clock.now()
                if left <= 0:
                    return
                self._clock.sleep(min(left, SLICE_SECONDS))
        finally:
            self.native_seconds += self._clock.now() - start

    def abort(self) -> None:
        """Interrupt the submitted batch from another thread. Without effect when there is none."""
        if self._batch and self.capabilities.can_abort:
            self._aborted = True

    def trim(self, sequence: int, to: int) -> None:
        """Drop the KV of `sequence` from position `to` on; `to == 0` frees it."""
        kv = self._sequences[sequence]
        assert 0 <= to <= len(kv.tokens), f"sequence {sequence}: trim to {to}, but it has {len(kv.tokens)}"
        assert self.capabilities.can_trim or to in (0, len(kv.tokens)), "only the whole can be dropped"
        self._drop(sequence, to)

    def _drop(self, sequence: int, to: int) -> None:
        kv = self._sequences[sequence]
        self._num_tokens -= len(kv.tokens) - to
        kv.trim(to)

    def fork(self, source: int, target: int, to: int) -> None:
        """Make `target` (empty) share the first `to` positions of `source`; takes no cells."""
        assert self.capabilities.can_fork, "this backend cannot fork"
        self._assert_empty(target)
        kv = self._sequences[source]
        assert 0 <= to <= len(kv.tokens), f"sequence {source}: fork at {to}, but it has {len(kv.tokens)}"
        self._sequences[target].fork(kv, to)
        self._num_tokens += to

    @property
    def state_fingerprint(self) -> str:
        """See `Backend.state_fingerprint`; KV here is nothing but tokens, whatever the script."""
        return STATE_FORMAT

    def save(self, sequence: int, start: int = 0, end: int | None = None) -> State:
        """Return a copy of the KV of `sequence` for `load`; it knows what stood before it."""
        kv = self._sequences[sequence]
        length = len(kv.tokens)
        end = length if end is None else end
        assert 0 <= start <= end <= length, f"sequence {sequence} holds {length} tokens, not {start} to {end}"
        assert self.capabilities.can_trim or (start, end) == (0, length), "only the whole can be saved"
        return pack(kv.tokens, start, end)

    def load(self, sequence: int, state: State) -> bool:
        """Append a saved KV. False when there are too few cells; AssertionError: wrong place or prefix."""
        kv = self._sequences[sequence]
        tokens = unpack(state, kv)
        if self._num_tokens + len(tokens) > self.capabilities.num_cells < self.used_cells() + len(tokens):
            return False
        self._num_tokens += len(tokens)
        kv.extend_array(tokens)
        return True

    def state_bytes(self, state: State) -> int:
        """Return the host memory that a saved KV would occupy in a real model: 64 bytes a token."""
        return STATE_BYTES_PER_TOKEN * num_tokens(state)

    def tokens(self, sequence: int) -> list[int]:
        """Return the computed tokens of `sequence`, for tests of what the KV holds."""
        return self._sequences[sequence].tokens.tolist()

    def used_cells(self) -> int:
        """Return the KV cells in use; positions that forks share count once."""
        return count_cells(self._sequences)

    def close(self) -> None:
        """Free everything. The backend cannot be used afterwards."""
        self._sequences = []

    def _claim(self, num_cells: int) -> None:
        """Count `num_cells` more cells. AssertionError: there are not so many."""
        if self._num_tokens + num_cells > self.capabilities.num_cells:
            cells = self.used_cells() + num_cells
            assert cells <= self.capabilities.num_cells, f"{cells} cells are more than num_cells"
        self._num_tokens += num_cells

    def _assert_empty(self, sequence: int) -> None:
        """Raise AssertionError unless `sequence` holds nothing."""
        assert not self._sequences[sequence].tokens, f"sequence {sequence} is not empty"
