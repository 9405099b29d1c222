"""The native backend: the engine's `Backend` over own CPU kernels, with libllama's tokenizer."""

import ctypes
import functools
import os
import struct
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from firesteel.backend.base import Aborted, Capabilities, Logits, Output, Rows, State, Want
from firesteel.backend.blueprint import Blueprint
from firesteel.backend.llamacpp.fingerprint import identity
from firesteel.backend.llamacpp.tokenizer import LlamaTokenizer, num_physical_cores
from firesteel.backend.native import library, packed
from firesteel.backend.native.description import Description
from firesteel.backend.native.tensors import layer_bytes, settings_of, tensor_entries
from firesteel.config import EngineConfig
from firesteel.errors import ConfigError, EngineFailure, ModelError
from firesteel.models.files import Progress, silent

STATE_HEAD = struct.Struct("<4sIII")  # magic, first position, positions, bytes of each
STATE_MAGIC = b"FSKV"
STATE_VERSION = 2  # how saved KV is laid out: whole pages as they are, positions of others one by one
ERROR_BYTES = 256


class NativeBackend:
    """`backend.base.Backend` on own kernels: C++ runs a whole step, with the interpreter lock released.

    Every logit of a wanted row is exact, unless `Rows.window` allows those far below the best to be approximate.
    Results depend on the sequence alone, to the last bit: not on the batch, on chunks, drafts or threads.
    """

    def __init__(
        self, blueprint: Blueprint, description: Description, config: EngineConfig, progress: Progress = silent
    ) -> None:
        """Map or pack the weights and make room for KV. Raises ModelError, ConfigError."""
        self._library, self._handle = library.load(), 0
        self.info, self._config = blueprint.info, config
        self.tokenizer = LlamaTokenizer(self.info.path)
        try:
            self._set_up(blueprint, description, progress)
        except BaseException:
            self.close()
            raise

    def _set_up(self, blueprint: Blueprint, description: Description, progress: Progress) -> None:
        sizes = blueprint.sizes
        if self.tokenizer.vocabulary_size != description.shape.vocabulary:
            raise ModelError(
                f"{self.info.path} has {description.shape.vocabulary} rows of embeddings for "
                f"{self.tokenizer.vocabulary_size} tokens"
            )
        self.capabilities = Capabilities(
            num_cells=sizes.num_cells,
            max_sequences=sizes.num_live,
            max_rows=sizes.max_rows,
            max_wanted_rows=sizes.num_wanted,
            chunk_rows=sizes.chunk_rows,
            can_abort=True,
        )
        self._source = self._map_source()
        path = Path(self.info.path)
        self._packed = packed.load(path, identity(self.info.path), description, self._source, progress)
        self._handle = self._open(description)
        self.kernels = str(self._library.fs_engine_kernels(self._handle).decode())  # the instruction set that runs
        self._vocabulary = description.shape.vocabulary
        self._layer_bytes = layer_bytes(description, self._packed)
        self._position_bytes = int(self._library.fs_position_bytes(self._handle))
        self.bytes_read = 0  # of weights and KV, by all steps together
        self._best = np.empty(sizes.num_wanted, np.int32)
        self._slots = np.empty(sizes.num_wanted, np.int32)
        self._best_address, self._slots_address = self._best.ctypes.data, self._slots.ctypes.data
        self._logits = self._view_logits()
        self._submitted: list[Rows] = []
        self.native_seconds = 0.0
        self._warm_up()

    def _map_source(self) -> packed.Bytes:
        """Map the model file: embeddings, norms and unpacked matrices are read where they are."""
        try:
            return packed.map_source(self.info.path)
        except OSError as error:
            raise ModelError(f"{self.info.path} cannot be read: {error.strerror or error}") from error

    def _open(self, description: Description) -> int:
        threads = self._config.num_threads or num_physical_cores()
        settings = settings_of(description.shape, self.capabilities, self._config.kv_type, threads)
        entries = tensor_entries(description, self._packed, int(self._source.ctypes.data))
        error = ctypes.create_string_buffer(ERROR_BYTES)
        kernels = os.environ.get("FIRESTEEL_KERNELS") or None
        name = kernels.encode() if kernels else None
        handle = self._library.fs_open(ctypes.byref(settings), entries, len(entries), name, error, ERROR_BYTES)
        if not handle:
            said = error.value.decode(errors="replace")
            sets = ", ".join(library.kernel_sets())
            raise ConfigError(f"the native kernels cannot start: {said} (FIRESTEEL_KERNELS may be one of {sets})")
        return int(handle)

    def _view_logits(self) -> npt.NDArray[np.float32]:
        """Return the kernels' buffer of logits, [slot, vocabulary and padding]."""
        stride = self._library.fs_logits_stride(self._handle)
        pointer = ctypes.cast(self._library.fs_logits(self._handle), ctypes.POINTER(ctypes.c_float))
        return np.ctypeslib.as_array(pointer, shape=(self.capabilities.max_wanted_rows, stride))

    def _warm_up(self) -> None:
        """Run one step, which also finds models whose numbers are invalid."""
        self.submit([Rows(0, 0, [0], Want.BEST)])
        try:
            self.wait()
        except EngineFailure as error:
            raise ModelError(f"{self.info.path} cannot be used: {error}") from error
        self.trim(0, 0)
        self.native_seconds = 0.0
        self.bytes_read = 0

    @property
    def head_bytes_read(self) -> int:
        """Bytes of the last matrix that the last step really read."""
        return int(self._library.fs_head_bytes(self._handle))

    def submit(self, batch: list[Rows]) -> None:
        """Take a batch; see `Backend.submit`."""
        self._library.fs_abort(self._handle, 0)
        self._submitted = batch

    def wait(self) -> list[Output]:
        """Compute the batch; see `Backend.wait`."""
        batch = self._submitted
        runs = (library.RunEntry * len(batch))(*map(_run_entry, batch))
        tokens = np.array([token for rows in batch for token in rows.tokens], np.int32)
        started = time.perf_counter()
        status = self._library.fs_step(
            self._handle, runs, len(batch), tokens.ctypes.data, self._best_address, self._slots_address
        )
        self.native_seconds += time.perf_counter() - started
        if status != library.DONE:
            raise self._failure(status)
        history = sum(rows.position + len(rows.tokens) for rows in batch)
        self.bytes_read += self._layer_bytes + self.head_bytes_read + history * self._position_bytes
        return self._outputs()

    def _failure(self, status: int) -> Exception:
        if status == library.ABORTED:
            return Aborted()
        words = {
            library.NO_MEMORY: "no page of KV is left",
            library.INVALID_NUMBERS: "the model computed invalid numbers; its file may be damaged",
        }
        return EngineFailure(words.get(status, f"the kernels refused a batch ({status})"))

    def _outputs(self) -> list[Output]:
        outputs, start = [], 0
        for rows in self._submitted:
            end = start + rows.num_wanted
            if rows.want is Want.LOGITS:
                outputs.append(Output(logits=[self._row(slot) for slot in self._slots[start:end]]))
            else:
                outputs.append(Output(self._best[start:end].tolist()))
            start = end
        return outputs

    def _row(self, slot: int) -> Logits:
        return self._logits[slot, : self._vocabulary]

    def abort(self) -> None:
        """Make the running step end before its next layer; callable from any thread."""
        self._library.fs_abort(self._handle, 1)

    def trim(self, sequence: int, to: int) -> None:
        """Drop KV from position `to` on."""
        self._library.fs_trim(self._handle, sequence, to)

    def fork(self, source: int, target: int, to: int) -> None:
        """Share the first `to` positions; a page is copied when one of the two writes into it."""
        self._library.fs_fork(self._handle, source, target, to)

    @functools.cached_property
    def state_fingerprint(self) -> str:
        """See `Backend.state_fingerprint`."""
        layout = self._library.fs_layout_version()
        parts = f"firesteel-kv=native-{layout}.{STATE_VERSION} kernels={self.kernels} model={identity(self.info.path)}"
        return f"{parts} kv={self._config.kv_type}"

    def save(self, sequence: int, start: int = 0, end: int | None = None) -> State:
        """Copy KV of `sequence` to host memory; see `Backend.save`."""
        length = self._library.fs_length(self._handle, sequence)
        end = length if end is None else end
        assert 0 <= start <= end <= length, f"sequence {sequence} holds {length} positions, not {start} to {end}"
        each = self._position_bytes
        state = np.empty(STATE_HEAD.size + (end - start) * each, np.uint8)
        state[: STATE_HEAD.size] = list(STATE_HEAD.pack(STATE_MAGIC, start, end - start, each))
        self._library.fs_save(self._handle, sequence, start, end, state.ctypes.data + STATE_HEAD.size)
        return state

    def load(self, sequence: int, state: State) -> bool:
        """Append a saved KV, any contiguous buffer; see `Backend.load`."""
        buffer = np.frombuffer(state, np.uint8)
        if buffer.size < STATE_HEAD.size:
            return False
        magic, start, count, each = STATE_HEAD.unpack(buffer[: STATE_HEAD.size].tobytes())
        expected = self._position_bytes
        if (magic, each, buffer.size) != (STATE_MAGIC, expected, STATE_HEAD.size + count * expected):
            return False
        length = self._library.fs_length(self._handle, sequence)
        assert start == length, f"sequence {sequence} holds {length} positions; the state was saved at {start}"
        return bool(self._library.fs_load(self._handle, sequence, count, buffer.ctypes.data + STATE_HEAD.size))

    def state_bytes(self, state: State) -> int:
        """Return the size of a saved KV."""
        return memoryview(state).nbytes

    def close(self) -> None:
        """Stop the threads, free KV and vocabulary; mapped weights go with the object."""
        self._library.fs_close(self._handle or None)
        self._handle = 0
        self.tokenizer.close()


def _run_entry(rows: Rows) -> library.RunEntry:
    window = -1.0 if rows.window is None else rows.window
    wants_logits = rows.want is Want.LOGITS
    return library.RunEntry(rows.sequence, rows.position, len(rows.tokens), rows.num_wanted, wants_logits, window)
