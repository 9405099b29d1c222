"""Everything about a model that is decided before it is loaded, from the first megabytes of its file."""

from pathlib import Path

import msgspec

from firesteel.backend.memory import Memory, estimate
from firesteel.backend.native.description import Description, Unsupported, support
from firesteel.backend.native.pages import kv_bytes, num_pages
from firesteel.backend.sizes import Sizes, sizes, stretched
from firesteel.config import EngineConfig
from firesteel.errors import ConfigError, ModelError
from firesteel.models.dimensions import Dimensions, dimensions
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


def draw(path: Path, config: EngineConfig) -> Blueprint:
    """Return the blueprint of the model file at `path`; 40 ms.

    Raises `ModelError` for a file that cannot be used, `ConfigError` for what the model does not document.
    """
    header, info = describe_file(path)
    native = native_description(header, path, config)
    context, found = read_context(header.metadata, info.architecture), dimensions(header)
    chosen = sizes(config, context, found, scores_at_once=native is None)
    return Blueprint(
        info=msgspec.structs.replace(info, context_length=stretched(config, context)),
        context=context,
        dimensions=found,
        sizes=chosen,
        memory=needed(config, chosen, found, native),
        native=native,
    )


def needed(config: EngineConfig, chosen: Sizes, found: Dimensions, native: Description | None) -> Memory:
    """Return what the model will take at most; own kernels keep scales beside keys and values, in pages."""
    memory = estimate(config, chosen, found, scores_at_once=native is None)
    if native is None:
        return memory
    pages = num_pages(chosen.num_cells, chosen.num_live)
    return msgspec.structs.replace(memory, kv=kv_bytes(native.shape, pages, config.kv_type))


def native_description(header: Header, path: Path, config: EngineConfig) -> Description | None:
    """Return what own kernels need to know, or None where llama.cpp is to run the model.

    Raises `ConfigError` where they were asked for and cannot, `ModelError` for a file that contradicts itself.
    """
    if config.backend == "llamacpp":
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
