"""The llama.cpp backend: one context, many sequences, rows of several sequences in one decode."""

import ctypes
import functools
import time
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt

from firesteel.backend.base import Aborted, Logits, Output, Rows, State, Want
from firesteel.backend.blueprint import Blueprint
from firesteel.backend.llamacpp import library
from firesteel.backend.llamacpp.context import capabilities, open_context
from firesteel.backend.llamacpp.fingerprint import fingerprint
from firesteel.backend.llamacpp.states import States
from firesteel.backend.llamacpp.tokenizer import LlamaTokenizer
from firesteel.backend.sizes import uses_flash_attention
from firesteel.config import EngineConfig
from firesteel.errors import ConfigError, EngineFailure, ModelError

_ABORTED = 2  # llama_decode's return value


class LlamaBackend:
    """`backend.base.Backend` over libllama. Weights are read, not mapped: repacked copies would be second ones."""

    def __init__(self, blueprint: Blueprint, config: EngineConfig) -> None:
        """Load the model and open its context. Raises ModelError, ConfigError."""
        self._llama = library.load()
        info, sizes = blueprint.info, blueprint.sizes
        most = int(self._llama.llama_max_parallel_sequences())
        if sizes.num_reserved > most:
            raise ConfigError(f"--max-live {sizes.num_live} is more than the {most - 1} that libllama can hold")
        self._model = library.load_model(info.path)
        if self._llama.llama_model_has_encoder(self._model):
            raise ModelError(f"{info.name} is an encoder-decoder model; only decoder models are supported")
        self.info = info
        self._config = config
        self.tokenizer = LlamaTokenizer(info.path, self._model)
        self.capabilities = capabilities(self._llama, self._model, sizes)
        self._context = open_context(self._llama, self._model, config, sizes, blueprint.context.trained)
        self._memory = self._llama.llama_get_memory(self._context)
        scratch = sizes.num_live if self.capabilities.can_trim else None
        self._states = States(self._llama, self._context, scratch)
        self._batch = self._llama.llama_batch_init(self.capabilities.max_rows, 0, 1)
        self._columns = _Columns(self._batch, self.capabilities.max_rows)
        self._submitted: list[Rows] = []
        self.native_seconds = 0.0
        self._arm_abort()
        self._warm_up()

    def _arm_abort(self) -> None:
        """Let libllama poll a flag without Python: `strlen` of the flag's bytes is 0 or 1, that is, a bool.

        A Python callback would be called 485 times a step and fight for the interpreter lock.
        """
        self._flag = (ctypes.c_char * 2)(b"\0", b"\0")
        strlen = ctypes.cast(ctypes.CDLL(None).strlen, ctypes.c_void_p).value
        callback = self._llama.ggml_abort_callback(strlen)
        self._llama.llama_set_abort_callback(self._context, callback, ctypes.addressof(self._flag))

    def _warm_up(self) -> None:
        """Touch all weights once, so that the first request does not pay for it."""
        self.submit([Rows(0, 0, [0], Want.BEST)])
        self.wait()
        self.trim(0, 0)
        self.native_seconds = 0.0

    def submit(self, batch: list[Rows]) -> None:
        """Take a batch; see `Backend.submit`."""
        self._flag[0] = b"\0"
        self._columns.fill(batch)
        self._batch.n_tokens = sum(len(rows.tokens) for rows in batch)
        self._submitted = batch

    def wait(self) -> list[Output]:
        """Compute the batch; see `Backend.wait`. libllama runs without the interpreter lock."""
        started = time.perf_counter()
        status = self._llama.llama_decode(self._context, self._batch)
        if status == 0:
            self._llama.llama_synchronize(self._context)
        self.native_seconds += time.perf_counter() - started
        if status != 0:
            self._restore()
            if status == _ABORTED:
                raise Aborted
            raise EngineFailure(f"llama_decode failed with {status}: {library.last_errors()}")
        return self._outputs()

    def _restore(self) -> None:
        """Take the batch's rows back; where the model cannot trim, what its sequences hold is of no use any more."""
        if self.capabilities.can_trim:
            for rows in self._submitted:
                self.trim(rows.sequence, rows.position)

    def _outputs(self) -> list[Output]:
        outputs, end = [], 0
        for rows in self._submitted:
            end += len(rows.tokens)
            logits = [self._logits(row) for row in range(end - rows.num_wanted, end)]
            wants_best = rows.want is Want.BEST
            outputs.append(Output([int(row.argmax()) for row in logits]) if wants_best else Output(logits=logits))
        return outputs

    def _logits(self, row: int) -> Logits:
        pointer = self._llama.llama_get_logits_ith(self._context, row)
        return np.ctypeslib.as_array(pointer, shape=(self.tokenizer.vocabulary_size,))

    def abort(self) -> None:
        """Make the running `llama_decode` return within a graph node; callable from any thread."""
        if self.capabilities.can_abort:
            self._flag[0] = b"\1"

    def trim(self, sequence: int, to: int) -> None:
        """Drop KV from position `to` on. Raises EngineFailure where the model's memory cannot."""
        if not self._llama.llama_memory_seq_rm(self._memory, sequence, to, -1):
            raise EngineFailure(f"{self.info.name} cannot go back to token {to}")

    def fork(self, source: int, target: int, to: int) -> None:
        """Share the first `to` positions; unified memory, so nothing is copied."""
        self._llama.llama_memory_seq_cp(self._memory, source, target, 0, to)

    @functools.cached_property
    def state_fingerprint(self) -> str:
        """See `Backend.state_fingerprint`; the first use reads 12 MB of the model file."""
        return fingerprint(
            self.info.path,
            self._config,
            version("llama-cpp-python"),
            flash_attention=uses_flash_attention(self._config),
            long_factors=self._has_long_factors(),
        )

    def _has_long_factors(self) -> bool:
        """Return whether this context is long enough for the factors of a model that has two sets (LongRoPE)."""
        buffer = ctypes.create_string_buffer(32)
        key = f"{self.info.architecture}.rope.scaling.original_context_length".encode()
        found = self._llama.llama_model_meta_val_str(self._model, key, buffer, len(buffer))
        return bool(found > 0 and self._llama.llama_n_ctx(self._context) > int(buffer.value))

    def save(self, sequence: int, start: int = 0, end: int | None = None) -> State:
        """Copy KV of `sequence` to host memory; see `Backend.save`."""
        return self._states.save(sequence, start, end)

    def load(self, sequence: int, state: State) -> bool:
        """Append a saved KV, any contiguous buffer; see `Backend.load`."""
        return self._states.load(sequence, state)

    def state_bytes(self, state: State) -> int:
        """Return the size of a saved KV."""
        return memoryview(state).nbytes

    def close(self) -> None:
        """Free batch, context and model."""
        self._llama.llama_batch_free(self._batch)
        self._llama.llama_free(self._context)
        self._llama.llama_model_free(self._model)


class _Columns:
    """The arrays of a `llama_batch` as numpy views, so that a batch is filled by slices, not token by token."""

    def __init__(self, batch: Any, max_rows: int) -> None:
        def view(pointer: Any) -> npt.NDArray[Any]:
            return np.ctypeslib.as_array(pointer, shape=(max_rows,))

        self._token, self._position = view(batch.token), view(batch.pos)
        self._wanted = view(batch.logits)
        view(batch.n_seq_id)[:] = 1
        # llama_batch_init gives every row its own one-element array; fill those through one flat view each.
        self._sequences = [batch.seq_id[row] for row in range(max_rows)]

    def fill(self, batch: list[Rows]) -> None:
        start = 0
        for rows in batch:
            end = start + len(rows.tokens)
            self._token[start:end] = rows.tokens
            self._position[start:end] = range(rows.position, rows.position + end - start)
            self._wanted[start:end] = 0
            self._wanted[end - rows.num_wanted : end] = 1
            for pointer in self._sequences[start:end]:
                pointer[0] = rows.sequence
            start = end
