"""The shared library of kernels, and the plain data that crosses its C interface (runtime/api.cpp)."""

import ctypes
import functools
import os
import sys
from pathlib import Path

from firesteel.errors import ConfigError

NAME = "libfiresteel_native.dylib" if sys.platform == "darwin" else "libfiresteel_native.so"
PATH = Path(os.environ.get("FIRESTEEL_NATIVE_LIBRARY") or Path(__file__).with_name(NAME))  # the first: for sanitizers

DONE, ABORTED, NO_MEMORY, INVALID_NUMBERS, BAD_REQUEST = range(5)  # `Status` in runtime/step.h


class Matrix(ctypes.Structure):
    """`Matrix` in kernels/formats.h."""

    _fields_ = (
        ("format", ctypes.c_int32),
        ("rows", ctypes.c_int32),
        ("columns", ctypes.c_int32),
        ("base", ctypes.c_void_p),
        ("plane", ctypes.c_void_p),
        ("slack", ctypes.c_void_p),
    )


class TensorEntry(ctypes.Structure):
    """`TensorEntry` in runtime/model.h."""

    _fields_ = (
        ("role", ctypes.c_int32),
        ("layer", ctypes.c_int32),
        ("matrix", Matrix),
        ("expert_base", ctypes.c_int64),
        ("expert_plane", ctypes.c_int64),
    )


class Settings(ctypes.Structure):
    """`Settings` in runtime/model.h."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("layers", "embedding", "heads", "kv_heads", "head_size")),
        *((name, ctypes.c_int32) for name in ("feed_forward", "vocabulary", "experts", "experts_used")),
        *((name, ctypes.c_int32) for name in ("normalise_experts", "interleaved")),
        ("epsilon", ctypes.c_float),
        ("rope_base", ctypes.c_float),
        *((name, ctypes.c_int32) for name in ("code_bytes", "num_pages", "num_sequences", "max_rows")),
        *((name, ctypes.c_int32) for name in ("max_wanted", "threads", "pin")),
    )


class RunEntry(ctypes.Structure):
    """`Run` in runtime/step.h."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("sequence", "position", "count", "wanted", "logits")),
        ("window", ctypes.c_float),
    )


_POINTER, _INT, _SIZE, _TEXT = ctypes.c_void_p, ctypes.c_int32, ctypes.c_size_t, ctypes.c_char_p
_SIGNATURES: dict[str, tuple[object, tuple[object, ...]]] = {  # name: result, arguments
    "fs_layout_version": (_INT, ()),
    "fs_kernels": (_TEXT, (_TEXT,)),
    "fs_num_tables": (_INT, ()),
    "fs_table_name": (_TEXT, (_INT,)),
    "fs_base_bytes": (_SIZE, (_INT, _INT, _INT)),
    "fs_plane_bytes": (_SIZE, (_INT, _INT, _INT)),
    "fs_pack": (None, (_INT, _INT, _INT, _POINTER, _POINTER, _POINTER, _POINTER)),
    "fs_decode_row": (None, (_INT, _POINTER, _INT, _POINTER)),
    "fs_digest": (ctypes.c_uint64, (_POINTER, _SIZE)),
    "fs_open": (_POINTER, (ctypes.POINTER(Settings), ctypes.POINTER(TensorEntry), _INT, _TEXT, _TEXT, _SIZE)),
    "fs_close": (None, (_POINTER,)),
    "fs_engine_kernels": (_TEXT, (_POINTER,)),
    "fs_step": (_INT, (_POINTER, ctypes.POINTER(RunEntry), _INT, _POINTER, _POINTER, _POINTER)),
    "fs_logits": (_POINTER, (_POINTER,)),
    "fs_logits_stride": (_SIZE, (_POINTER,)),
    "fs_head_bytes": (ctypes.c_uint64, (_POINTER,)),
    "fs_abort": (None, (_POINTER, _INT)),
    "fs_length": (_INT, (_POINTER, _INT)),
    "fs_free_pages": (_INT, (_POINTER,)),
    "fs_trim": (None, (_POINTER, _INT, _INT)),
    "fs_fork": (None, (_POINTER, _INT, _INT, _INT)),
    "fs_position_bytes": (_SIZE, (_POINTER,)),
    "fs_save": (None, (_POINTER, _INT, _INT, _INT, _POINTER)),
    "fs_load": (_INT, (_POINTER, _INT, _INT, _POINTER)),
    "fs_probe_product": (_INT, (_TEXT, _INT, _INT, _INT, _POINTER, _INT, _POINTER, _INT, _POINTER, _POINTER)),
    "fs_probe_quantise": (_INT, (_TEXT, _INT, _POINTER, _POINTER)),
    "fs_probe_normalise": (_INT, (_TEXT, _INT, _POINTER, _POINTER, ctypes.c_float, _POINTER)),
    "fs_probe_gated": (_INT, (_TEXT, _INT, _POINTER, _POINTER)),
    "fs_probe_attend": (
        _INT,
        (*(_TEXT, _INT, _INT, _INT, _POINTER, _POINTER, _INT, _POINTER, _POINTER, ctypes.c_float, _INT), _POINTER),
    ),
}

# These take a microsecond. Whoever gives up the interpreter lock for them waits while another thread uses its turn,
# and a step begins that much later: they keep it.
_QUICK = frozenset(
    {"fs_head_bytes", "fs_abort", "fs_length", "fs_free_pages", "fs_trim", "fs_fork", "fs_position_bytes"}
)


@functools.cache
def load() -> ctypes.CDLL:
    """Return the library with its signatures set. Raises ConfigError when it was not built or does not load."""
    try:
        library, keeping_lock = ctypes.CDLL(str(PATH)), ctypes.PyDLL(str(PATH))
    except OSError as error:
        raise ConfigError(f"the native kernels do not load ({error}); run `make setup` again") from error
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(keeping_lock if name in _QUICK else library, name)
        function.restype, function.argtypes = result, arguments
        setattr(library, name, function)
    return library


def is_built() -> bool:
    """Return whether the library exists and loads."""
    try:
        load()
    except ConfigError:
        return False
    return True


def kernel_sets() -> tuple[str, ...]:
    """Return the instruction sets that this build holds and this processor has, the fastest last."""
    library = load()
    names = [library.fs_table_name(index) for index in range(library.fs_num_tables())]
    return tuple(name.decode() for name in names if library.fs_kernels(name))


def best_kernels() -> str:
    """Return the instruction set that runs when none is asked for."""
    return str(load().fs_kernels(None).decode())
