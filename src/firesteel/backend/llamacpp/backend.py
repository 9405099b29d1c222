"""The llama.cpp backend: one context, many sequences, rows of several sequences in one decode."""

import ctypes
import time
from typing import Any

import numpy as np
import numpy.typing as npt

from firesteel.backend.base import Aborted, Capabilities, Logits, Output, Rows, Want
from firesteel.backend.llamacpp import library
from firesteel.backend.llamacpp.tokenizer import LlamaTokenizer, num_physical_cores
from firesteel.config import EngineConfig
from firesteel.errors import ConfigError, EngineFailure, ModelError
from firesteel.types import ModelInfo

State = npt.NDArray[np.uint8]

DEFAULT_CONTEXT = 16_384  # KV of the default model: 201 MB
DEFAULT_CHUNK = 64  # larger chunks gain at most 4 % here, cost memory, and keep a newcomer waiting longer
DEFAULT_LIVE = 16
_ABORTED = 2  # llama_decode's return value


class LlamaBackend:
    """`backend.base.Backend` over libllama. Weights are read, not mapped: repacked copies would be second ones."""

    def __init__(self, info: ModelInfo, config: EngineConfig) -> None:
        self._llama = library.load()
        self._model = library.load_model(info.path)
        if self._llama.llama_model_has_encoder(self._model):
            raise ModelError(f"{info.name} is an encoder-decoder model; only decoder models are supported")
        self.info = info
        self.tokenizer = LlamaTokenizer(info.path, self._model)
        self.capabilities = self._capabilities(info, config)
        self._context = self._open_context(config)
        self._memory = self._llama.llama_get_memory(self._context)
        self._batch = self._llama.llama_batch_init(self.capabilities.max_rows, 0, 1)
        self._columns = _Columns(self._batch, self.capabilities.max_rows)
        self._submitted: list[Rows] = []
        self.native_seconds = 0.0
        self._arm_abort()
        self._warm_up()

    def _capabilities(self, info: ModelInfo, config: EngineConfig) -> Capabilities:
        num_cells = config.context_tokens or min(info.context_length, DEFAULT_CONTEXT)
        if num_cells > info.context_length:
            raise ConfigError(f"context of {num_cells} exceeds the {info.context_length} tokens of {info.name}")
        chunk = min(config.chunk_tokens or DEFAULT_CHUNK, num_cells)
        recurrent = self._llama.llama_model_is_recurrent(self._model)
        trims = not (recurrent or self._llama.llama_model_is_hybrid(self._model))
        live = config.max_live or DEFAULT_LIVE
        return Capabilities(
            num_cells=num_cells,
            max_sequences=live,
            max_rows=chunk + live,
            chunk_rows=chunk,
            can_trim=trims,
            can_fork=trims,
            can_abort=trims,  # what an abort leaves must be trimmed
        )

    def _open_context(self, config: EngineConfig) -> ctypes.c_void_p:
        llama, shape = self._llama, self.capabilities
        threads = config.num_threads or num_physical_cores()
        params = llama.llama_context_default_params()
        library.configure(
            params,
            n_ctx=shape.num_cells,
            n_batch=shape.max_rows,
            n_ubatch=shape.max_rows,
            n_seq_max=shape.max_sequences,
            n_outputs_max=shape.max_sequences,
            n_threads=threads,
            n_threads_batch=threads,
            flash_attn_type=llama.LLAMA_FLASH_ATTN_TYPE_DISABLED,
            kv_unified=True,  # the only mode in which llama_memory_seq_cp takes a partial range
            swa_full=True,
            no_perf=True,
        )
        context = llama.llama_init_from_model(self._model, params)
        if not context:
            raise ConfigError(f"no context of {shape.num_cells} tokens: {library.last_errors()}; ask for less")
        return ctypes.c_void_p(context) if isinstance(context, int) else context

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
        for rows in self._submitted:
            self.trim(rows.sequence, rows.position)

    def _outputs(self) -> list[Output]:
        outputs, row = [], -1
        for rows in self._submitted:
            row += len(rows.tokens)
            if rows.want is Want.NONE:
                outputs.append(Output())
                continue
            logits = self._logits(row)
            wants_best = rows.want is Want.BEST
            outputs.append(Output([int(logits.argmax())]) if wants_best else Output(logits=logits))
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

    def save(self, sequence: int) -> State:
        """Copy the KV of `sequence` to host memory."""
        size = self._llama.llama_state_seq_get_size(self._context, sequence)
        state: State = np.empty(size, dtype=np.uint8)
        self._llama.llama_state_seq_get_data(self._context, _pointer(state), size, sequence)
        return state

    def load(self, sequence: int, state: State) -> None:
        """Copy a saved KV back into the empty `sequence`."""
        read = self._llama.llama_state_seq_set_data(self._context, _pointer(state), state.size, sequence)
        assert read, "a state that this context saved did not load"

    def state_bytes(self, state: State) -> int:
        """Return the size of a saved KV."""
        return state.size

    def close(self) -> None:
        """Free batch, context and model."""
        self._llama.llama_batch_free(self._batch)
        self._llama.llama_free(self._context)
        self._llama.llama_model_free(self._model)


def _pointer(state: State) -> Any:
    return state.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))


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
            self._wanted[end - 1] = rows.want is not Want.NONE
            for pointer in self._sequences[start:end]:
                pointer[0] = rows.sequence
            start = end
