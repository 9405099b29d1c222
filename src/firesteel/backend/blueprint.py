"""Everything about a model that is decided before it is loaded, from the first megabytes of its file."""

from pathlib import Path

import msgspec

from firesteel.backend.memory import Memory, estimate
from firesteel.backend.sizes import Sizes, sizes, stretched
from firesteel.config import EngineConfig
from firesteel.models.dimensions import Dimensions, dimensions
from firesteel.models.gguf import Context, describe_file, read_context
from firesteel.types import ModelInfo


class Blueprint(msgspec.Struct, frozen=True, kw_only=True):
    """A model file under a configuration."""

    info: ModelInfo  # its `context_length` is the stretched one
    context: Context
    dimensions: Dimensions
    sizes: Sizes
    memory: Memory  # what it will take at most


def draw(path: Path, config: EngineConfig) -> Blueprint:
    """Return the blueprint of the model file at `path`; 40 ms.

    Raises `ModelError` for a file that cannot be used, `ConfigError` for what the model does not document.
    """
    header, info = describe_file(path)
    context, found = read_context(header.metadata, info.architecture), dimensions(header)
    chosen = sizes(config, context, found)
    return Blueprint(
        info=msgspec.structs.replace(info, context_length=stretched(config, context)),
        context=context,
        dimensions=found,
        sizes=chosen,
        memory=estimate(config, chosen, found),
    )
