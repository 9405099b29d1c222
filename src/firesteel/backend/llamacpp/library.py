"""libllama, loaded once, with its log kept quiet and its structs checked.

Fields that no longer exist are accepted silently by ctypes, so every setting goes through `configure`.
"""

import ctypes
import functools
import importlib
import os
import sys
from collections import deque
from types import ModuleType

from firesteel.errors import ModelError

_last_errors: deque[str] = deque(maxlen=8)
_ERROR_LEVEL = 4  # GGML_LOG_LEVEL_ERROR


@functools.cache
def load() -> ModuleType:
    """Return the `llama_cpp` module with its backend initialised. Raises ModelError when it cannot load."""
    try:
        llama_cpp = importlib.import_module("llama_cpp")
    except (ImportError, OSError) as error:
        raise ModelError(f"llama-cpp-python does not load ({error}); run `make setup` again") from error
    _keep_quiet(llama_cpp)
    llama_cpp.llama_backend_init()
    return llama_cpp


def _keep_quiet(llama_cpp: ModuleType) -> None:
    @llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
    def log(level: int, text: bytes, _: ctypes.c_void_p) -> None:
        if level == _ERROR_LEVEL:
            _last_errors.append(text.decode(errors="replace").strip())
        if os.environ.get("FIRESTEEL_DEBUG"):
            sys.stderr.write(text.decode(errors="replace"))

    llama_cpp.llama_log_set(log, None)
    _callbacks.append(log)


_callbacks: list[object] = []  # libllama keeps only the pointer, so Python must keep the object


def last_errors() -> str:
    """Return what libllama last complained about, one line, and forget it."""
    text = "; ".join(_last_errors)
    _last_errors.clear()
    return text


def configure(struct: ctypes.Structure, **values: object) -> None:
    """Set fields of a libllama parameter struct; a name it does not have is our bug."""
    names = {field[0] for field in struct._fields_}
    for name, value in values.items():
        assert name in names, f"{type(struct).__name__} has no field {name}"
        setattr(struct, name, value)


def load_model(path: str, **settings: object) -> ctypes.c_void_p:
    """Return a loaded `llama_model *`. Raises ModelError with libllama's own words."""
    llama = load()
    params = llama.llama_model_default_params()
    configure(params, n_gpu_layers=0, load_mode=llama.LLAMA_LOAD_MODE_NONE, **settings)
    last_errors()
    model = llama.llama_model_load_from_file(path.encode(), params)
    if not model:
        raise ModelError(f"{path} cannot be loaded: {last_errors() or 'not a GGUF model'}")
    return ctypes.c_void_p(model) if isinstance(model, int) else model
