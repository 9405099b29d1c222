"""Opens a libllama context of given sizes, and says what it can do."""

import ctypes
from types import ModuleType

from firesteel.backend.base import Capabilities
from firesteel.backend.llamacpp import library
from firesteel.backend.llamacpp.tokenizer import num_physical_cores
from firesteel.backend.sizes import Sizes, uses_flash_attention
from firesteel.config import EngineConfig
from firesteel.errors import ConfigError


def capabilities(llama: ModuleType, model: ctypes.c_void_p, sizes: Sizes) -> Capabilities:
    """Return what the backend can do with a loaded model."""
    trims = can_trim(llama, model)
    return Capabilities(
        num_cells=sizes.num_cells,
        max_sequences=sizes.num_live,
        max_rows=sizes.max_rows,
        max_wanted_rows=sizes.num_wanted,
        chunk_rows=sizes.chunk_rows,
        can_trim=trims,
        can_fork=trims,
        can_abort=trims,  # what an abort leaves must be trimmed
    )


def can_trim(llama: ModuleType, model: ctypes.c_void_p) -> bool:
    """Return whether any prefix of a computed sequence is still there.

    It is not in recurrent and hybrid models, nor with sliding windows: libllama reuses cells that fell out.
    """
    recurrent = llama.llama_model_is_recurrent(model) or llama.llama_model_is_hybrid(model)
    return not recurrent and int(llama.llama_model_n_swa(model)) <= 0


def open_context(
    llama: ModuleType, model: ctypes.c_void_p, config: EngineConfig, sizes: Sizes, trained: int
) -> ctypes.c_void_p:
    """Return a `llama_context *`; `trained` is the model's context before any stretching. Raises `ConfigError`."""
    threads = config.num_threads or num_physical_cores()
    flash = (
        llama.LLAMA_FLASH_ATTN_TYPE_ENABLED if uses_flash_attention(config) else llama.LLAMA_FLASH_ATTN_TYPE_DISABLED
    )
    kv_type = {"f16": llama.GGML_TYPE_F16, "q8_0": llama.GGML_TYPE_Q8_0}[config.kv_type]
    # Recurrent models get a whole state for each sequence, so they have none to copy through.
    num_sequences = sizes.num_reserved if can_trim(llama, model) else sizes.num_live
    params = llama.llama_context_default_params()
    library.configure(
        params,
        n_ctx=sizes.num_cells,
        n_batch=sizes.max_rows,
        n_ubatch=sizes.max_rows,
        n_seq_max=num_sequences,
        n_outputs_max=max(num_sequences, sizes.num_wanted),  # libllama aborts the process below n_seq_max
        n_threads=threads,
        n_threads_batch=threads,
        flash_attn_type=flash,
        type_k=kv_type,
        type_v=kv_type,
        kv_unified=True,  # the only mode in which llama_memory_seq_cp takes a partial range
        swa_full=True,
        no_perf=True,
    )
    if config.yarn is not None:
        stretch(llama, model, params, config.yarn, trained)
    context = llama.llama_init_from_model(model, params)
    if not context:
        raise ConfigError(f"no context of {sizes.num_cells} tokens: {library.last_errors()}; ask for less")
    return ctypes.c_void_p(context) if isinstance(context, int) else context


def stretch(llama: ModuleType, model: ctypes.c_void_p, params: ctypes.Structure, factor: float, trained: int) -> None:
    """Ask for YaRN as llama.cpp's own `--rope-scaling yarn --rope-scale FACTOR --yarn-orig-ctx TRAINED` does."""
    if llama.llama_model_rope_type(model) == llama.LLAMA_ROPE_TYPE_NONE:
        raise ConfigError("--yarn cannot be used: the model has no rotary positions to stretch")
    library.configure(
        params,
        rope_scaling_type=llama.LLAMA_ROPE_SCALING_TYPE_YARN,
        rope_freq_scale=1 / factor,
        yarn_orig_ctx=trained,
    )
