"""What a configuration asks of a model: cells, sequences, rows. Decided from the header, before anything is loaded."""

import msgspec

from firesteel.config import EngineConfig
from firesteel.errors import ConfigError
from firesteel.models.dimensions import Dimensions
from firesteel.models.gguf import Context

DEFAULT_CONTEXT = 16_384  # KV of the default model: 201 MB
DEFAULT_CHUNK = 64  # larger chunks gain at most 4 % here, cost memory, and keep a newcomer waiting longer
CUDA_CHUNK = 2048  # on a GPU: rows that fill it
MIN_CHUNK = 16
DEFAULT_LIVE = 16
MAX_YARN = 8.0
SCORES_BYTES = 512 << 20  # what the attention scores of one step may take before the chunk shrinks
SCORE_BYTES = 6  # of one head, row and cell without flash attention: float32, and float16 for the product with values


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes of one context."""

    num_cells: int
    num_live: int
    chunk_rows: int
    num_reserved: int  # sequences that libllama knows: the live ones and one to copy through
    num_wanted: int  # rows of one batch that may have logits: each takes 4 bytes × vocabulary, twice

    @property
    def max_rows(self) -> int:
        """Rows of one batch: a chunk of a prompt beside one row of each live sequence."""
        return self.chunk_rows + self.num_live


def sizes(
    config: EngineConfig,
    context: Context,
    dimensions: Dimensions,
    *,
    scores_at_once: bool = True,
    default_chunk: int = DEFAULT_CHUNK,
) -> Sizes:
    """Return the sizes of the context for `config`. Raises `ConfigError` for what the model does not document.

    `scores_at_once`: attention holds the scores of all heads, rows and cells in memory (llama.cpp's way).
    `default_chunk`: rows of a chunk where it does not.
    """
    limit = stretched(config, context)
    num_cells = config.context_tokens or min(limit, DEFAULT_CONTEXT)
    if num_cells > limit:
        raise ConfigError(too_long(num_cells, limit, config, context))
    live = config.max_live or DEFAULT_LIVE
    chosen = chosen_chunk(config, dimensions, num_cells, live) if scores_at_once else default_chunk
    chunk = min(config.chunk_tokens or chosen, num_cells)
    return Sizes(
        num_cells=num_cells,
        num_live=live,
        chunk_rows=chunk,
        num_reserved=live + 1,
        num_wanted=live + 1 + (config.max_draft if config.drafters else 0),
    )


def stretched(config: EngineConfig, context: Context) -> int:
    """Return how many tokens the model may take: as documented, or stretched by YaRN where that is asked for."""
    if config.yarn is None:
        return context.limit
    if not 1 < config.yarn <= MAX_YARN:
        raise ConfigError(f"--yarn {config.yarn:g} must be more than 1 and at most {MAX_YARN:g}")
    if context.scaling not in (None, "yarn"):
        raise ConfigError(f"--yarn cannot be used: the model already scales its positions ({context.scaling})")
    return int(context.trained * config.yarn)


def too_long(num_cells: int, limit: int, config: EngineConfig, context: Context) -> str:
    """Return the message for a context beyond the limit, with the remedy."""
    if config.yarn is None:
        said = f"--context {num_cells} is more than the {limit} tokens that the model documents"
    else:
        said = f"--context {num_cells} is more than the model's {context.trained} tokens times --yarn {config.yarn:g}"
    factor = -(-num_cells // context.trained)
    if context.scaling in (None, "yarn") and factor <= MAX_YARN:
        return f"{said}; ask for less, or for --yarn {factor} (docs/how-to/long-context.md says what it costs)"
    return f"{said}; ask for at most {limit}"


def chosen_chunk(config: EngineConfig, dimensions: Dimensions, num_cells: int, live: int) -> int:
    """Return the rows of a prefill chunk: fewer where the scores of a long context would take too much memory."""
    if uses_flash_attention(config):
        return DEFAULT_CHUNK
    rows = SCORES_BYTES // max(num_cells * dimensions.num_heads * SCORE_BYTES, 1)
    return min(DEFAULT_CHUNK, max(MIN_CHUNK, rows - live))


def uses_flash_attention(config: EngineConfig) -> bool:
    """Return whether attention runs fused: only where quantised values need it (decision 8)."""
    return config.kv_type != "f16"


def prices(config: EngineConfig) -> list[str]:
    """Return what the settings cost that a user should know of, a line each; the figures stand in the how-to."""
    lines = []
    if config.kv_type != "f16":
        lines.append(f"--kv-type {config.kv_type} halves the memory of KV and makes long prompts several times slower")
    if config.yarn is not None:
        lines.append(f"--yarn {config.yarn:g} stretches positions: answers get somewhat worse, to short prompts too")
    return lines
