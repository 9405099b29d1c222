"""ik_llama.cpp as PyPI ships it, computing steps for `bench step`, in a virtual environment of its own.

`python -m firesteel.bench.step_ik MODEL CONTEXT THREADS`. Needs `ik_llama_cpp` and numpy, and nothing of
ours but `bench.stepping`.
"""

import ctypes
import sys
from importlib import import_module
from importlib.metadata import version
from typing import Any

from firesteel.bench.stepping import Json, Stepper, serve

CHUNK_ROWS = 512  # its own default


class IkStepper:
    """One sequence of an ik_llama.cpp context."""

    def __init__(self, path: str, context_tokens: int, num_threads: int) -> None:
        """Load the model; what is not named here stays at ik_llama.cpp's defaults, flash attention too."""
        self._api = api = import_module("ik_llama_cpp._ctypes_api")
        api.llama_backend_init()
        self._model = api.llama_model_load_from_file(path.encode(), api.llama_model_default_params())
        if not self._model:
            raise SystemExit(f"ik_llama.cpp cannot load {path}")
        params = api.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = context_tokens, CHUNK_ROWS, CHUNK_ROWS
        params.n_threads = params.n_threads_batch = num_threads
        self._context = api.llama_init_from_model(self._model, params)
        if not self._context:
            raise SystemExit(f"ik_llama.cpp makes no context of {context_tokens} tokens")
        self._batch = api.llama_batch_init(CHUNK_ROWS, 0, 1)
        self._vocabulary = api.llama_vocab_n_tokens(api.llama_model_get_vocab(self._model))
        self._remove = api._lib.llama_kv_cache_seq_rm
        self._remove.argtypes = (ctypes.c_void_p, ctypes.c_int32, ctypes.c_int32, ctypes.c_int32)

    def about(self) -> Json:
        """Return what it is and how it was built."""
        self._api._lib.llama_print_system_info.restype = ctypes.c_char_p
        flags = self._api._lib.llama_print_system_info().decode().split("|")
        kernels = " ".join(flag.split()[0] for flag in flags if flag.split()[-1:] == ["1"])
        return {"name": "ik", "version": f"ik-llama-cpp-python {version('ik-llama-cpp-python')} {kernels}"}

    def compute(self, tokens: list[int], position: int, num_wanted: int) -> None:
        """Decode one batch, and choose the best token of each wanted row on the host, as our llama.cpp backend does."""
        batch, count = self._batch, len(tokens)
        batch.n_tokens = count
        for row, token in enumerate(tokens):
            batch.token[row], batch.pos[row] = token, position + row
            batch.n_seq_id[row], batch.seq_id[row][0] = 1, 0
            batch.logits[row] = row >= count - num_wanted
        if status := self._api.llama_decode(self._context, batch):
            raise SystemExit(f"llama_decode failed with {status}")
        for row in range(count - num_wanted, count):
            self._logits(row).argmax()

    def _logits(self, row: int) -> Any:
        import numpy as np

        pointer = self._api.llama_get_logits_ith(self._context, row)
        return np.ctypeslib.as_array(pointer, shape=(self._vocabulary,))

    def trim(self, to: int) -> None:
        """Drop the KV from position `to` on."""
        self._remove(self._context, 0, to, -1)

    def bytes_read(self) -> int | None:
        """Nobody counts."""
        return None


def make() -> tuple[Stepper, int]:
    """Load the model that the arguments describe."""
    path, context, threads = sys.argv[1:]
    return IkStepper(path, int(context), int(threads)), CHUNK_ROWS


if __name__ == "__main__":
    serve(make)
