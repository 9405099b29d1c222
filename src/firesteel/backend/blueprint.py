"""Everything about a model that is decided before it is loaded, from the first megabytes of its file."""

from pathlib import Path

import msgspec

from firesteel.backend.memory import Memory, estimate, on_host
from firesteel.backend.native.description import Description, Unsupported, support
from firesteel.backend.native.pages import kv_bytes, num_pages
from firesteel.backend.sizes import CUDA_CHUNK, DEFAULT_CHUNK, Sizes, sizes, stretched
from firesteel.config import EngineConfig
from firesteel.errors import ConfigError, ModelError
from firesteel.models.dimensions import Dimensions, dimensions
from firesteel.models.folder import describe_folder, is_folder
from firesteel.models.gguf import Context, Header, describe_file, read_context
from firesteel.types import ModelInfo


class Blueprint(msgspec.Struct, frozen=True, kw_only=True):
    """A model file under a configuration."""

    info: ModelInfo  # its `context_length` is the stretched one
    context: Context
    dimensions: Dimensions
    sizes: Sizes
    memory: Memory  # what it will take at most
    native: Description | None  # for own kernels; None: llama.cpp runs it
    cuda: Description | None = None  # for a GPU, where that was asked for
    folder: Path | None = None  # of safetensors; `info.path` is then its vocabulary


def draw(path: Path, config: EngineConfig) -> Blueprint:
    """Return the blueprint of the model file at `path`; 40 ms.

    Raises `ModelError` for a file that cannot be used, `ConfigError` for what the model does not document.
    """
    header, info = describe_folder(path) if is_folder(path) else describe_file(path)
    _refuse_folder(path, config)
    native, cuda = native_description(header, path, config), cuda_description(header, path, config)
    scores_at_once = native is None and cuda is None
    context, found = read_context(header.metadata, info.architecture), dimensions(header)
    chosen = sizes(config, context, found, scores_at_once=scores_at_once, default_chunk=default_chunk(cuda))
    return Blueprint(
        info=msgspec.structs.replace(info, context_length=stretched(config, context)),
        context=context,
        dimensions=found,
        sizes=chosen,
        memory=memory_of(config, chosen, found, native, cuda),
        native=native,
        cuda=cuda,
        folder=path if is_folder(path) else None,
    )


def native_description(header: Header, path: Path, config: EngineConfig) -> Description | None:
    """Return what own kernels need to know, or None where llama.cpp is to run the model.

    Raises `ConfigError` where they were asked for and cannot, `ModelError` for a file that contradicts itself.
    """
    if config.backend in ("llamacpp", "cuda"):
        return None
    from firesteel.backend.native.library import is_built, load

    try:
        description = support(header, config.yarn)
    except Unsupported as reason:
        if config.backend == "native":
            raise ConfigError(f"--backend native cannot run {path.name}: {reason}; leave it to `auto`") from None
        return None
    except ModelError as error:
        raise ModelError(f"{path} cannot be used: {error}") from None
    if config.backend == "native":
        load()
    return description if is_built() else None


def cuda_description(header: Header, path: Path, config: EngineConfig) -> Description | None:
    """Return what a GPU needs to know, or None where it was not asked for.

    Raises `ConfigError` for what it does not know, `ModelError` for a file that contradicts itself.
    """
    if config.backend != "cuda":
        if config.weights != "bf16":
            raise ConfigError(f"--weights {config.weights} needs --backend cuda; --quantize is for the others")
        return None
    if config.kv_type != "f16":
        raise ConfigError(f"--kv-type {config.kv_type} is not known to --backend cuda; leave it at f16")
    try:
        description = support(header, config.yarn)
    except Unsupported as reason:
        raise ConfigError(f"--backend cuda cannot run {path.name}: {reason}; leave --backend to `auto`") from None
    except ModelError as error:
        raise ModelError(f"{path} cannot be used: {error}") from None
    if not is_folder(path):
        return description
    # GGUF pairs neighbours where Hugging Face pairs halves.
    return msgspec.structs.replace(description, shape=msgspec.structs.replace(description.shape, interleaved=False))


def _refuse_folder(path: Path, config: EngineConfig) -> None:
    if is_folder(path) and config.backend != "cuda":
        raise ConfigError(f"{path} is a folder of safetensors, which needs --backend cuda; the others take GGUF files")


def default_chunk(cuda: Description | None) -> int:
    """Return the rows of a prefill chunk: a GPU is only busy with many."""
    return CUDA_CHUNK if cuda is not None else DEFAULT_CHUNK


def memory_of(
    config: EngineConfig, sizes: Sizes, dimensions: Dimensions, native: Description | None, cuda: Description | None
) -> Memory:
    """Return what the host's memory must hold at most; own kernels keep scales beside keys and values, in pages."""
    if cuda is not None:
        return on_host(cuda.shape, config)
    memory = estimate(config, sizes, dimensions, scores_at_once=native is None)
    if native is None:
        return memory
    pages = num_pages(sizes.num_cells, sizes.num_live)
    return msgspec.structs.replace(memory, kv=kv_bytes(native.shape, pages, config.kv_type))
