"""The model that is measured: the same file for our server, for the peer and for a backend in this process."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from firesteel import machine
from firesteel.bench import peer, roofline, servers
from firesteel.bench.options import Options
from firesteel.config import EngineConfig

if TYPE_CHECKING:
    from firesteel.backend.base import Backend
    from firesteel.models.gguf import Header
    from firesteel.types import Tokenizer

SCRIPTED = "scripted"
SCRIPTED_CONTEXT = 131_072
SCRIPTED_STATE_BYTES = 64  # a token, as the scripted backend counts them


class Subject:
    """A model file, or the scripted backend, on which every kind can be tried out in seconds."""

    def __init__(self, path: Path | None, *, script: str | None = None) -> None:
        """`path` is the model's file; None is the scripted backend, which may be told what to say by `script`."""
        self.path = path
        self.script = script
        self.num_threads = machine.num_cores()

    @property
    def model_id(self) -> str:
        """The name that our server serves it as."""
        return SCRIPTED if self.path is None else self.path.name

    @cached_property
    def sha256(self) -> str | None:
        """The digest of the file."""
        from firesteel.models import files

        return None if self.path is None else files.sha256_of(self.path)

    @cached_property
    def header(self) -> "Header | None":
        """What stands before the weights in the file."""
        from firesteel.models import gguf

        return None if self.path is None else gguf.read_header(self.path)

    @cached_property
    def tokenizer(self) -> "Tokenizer":
        """The model's own tokenizer, to cut texts to a number of tokens."""
        from firesteel.backend import open_tokenizer

        return open_tokenizer(self.engine_config())

    @property
    def trained_context(self) -> int:
        """How many tokens the model takes without stretching its positions."""
        if self.header is None:
            return SCRIPTED_CONTEXT
        from firesteel.models import gguf

        return gguf.read_context(self.header.metadata, str(self.header.metadata["general.architecture"])).trained

    @property
    def weight_bytes(self) -> int:
        """Bytes of weights that a step reads."""
        return 0 if self.header is None else roofline.bytes_per_token(self.header)

    @property
    def kv_bytes_per_token(self) -> float:
        """Bytes of KV of one token in 16 bits, the default."""
        return self.kv_bytes_of("f16")

    def kv_bytes_of(self, kv_type: Literal["f16", "q8_0"]) -> float:
        """Return the bytes of KV of one token."""
        if self.header is None:
            return SCRIPTED_STATE_BYTES
        from firesteel.backend import memory
        from firesteel.models.dimensions import dimensions

        return memory.bytes_per_token(self.engine_config(kv_type=kv_type), dimensions(self.header))

    def predicted_bytes(self, **settings: Any) -> int:
        """Return the memory that a backend with these settings is expected to need at most; 0 without a file."""
        if self.header is None:
            return 0
        from firesteel.backend import memory, sizes
        from firesteel.models import gguf
        from firesteel.models.dimensions import dimensions

        config, shape = self.engine_config(**settings), dimensions(self.header)
        context = gguf.read_context(self.header.metadata, str(self.header.metadata["general.architecture"]))
        return memory.estimate(config, sizes.sizes(config, context, shape), shape).total

    def yarn_arguments(self, context_tokens: int) -> list[str]:
        """Return the options of our server that stretch the model to `context_tokens`, none where it need not be."""
        factor = -(-context_tokens // self.trained_context)
        return ["--yarn", str(factor)] if factor > 1 else []

    def engine_config(self, **settings: Any) -> EngineConfig:
        """Return the configuration of an engine in this process."""
        if self.path is None:
            return EngineConfig(backend="scripted", script=self.script, **settings)
        return EngineConfig(model=str(self.path), **settings)

    def open_backend(self, **settings: Any) -> "Backend":
        """Load the model into this process."""
        from firesteel.backend import open_backend

        return open_backend(self.engine_config(**settings))

    def serve_command(self, port: int, *arguments: str) -> list[str]:
        """Return the command line of our server."""
        if self.path is not None:
            model = ["--model", str(self.path)]
        else:
            model = ["--backend", SCRIPTED, *(["--script", self.script] if self.script else [])]
        return servers.serve_command(port, [*model, *arguments])

    def peer_command(self, port: int, **settings: Any) -> list[str]:
        """Return the command line of the peer; `settings` are attributes of xllamacpp's `CommonParams`."""
        return peer.command(str(self.path), port, self.num_threads, settings)


def subject_of(options: Options) -> Subject:
    """Return what `options` name. Raises `ModelError` when it is not on this machine."""
    if options.model == SCRIPTED:
        return Subject(None)
    from firesteel.models import pull

    path = pull.resolve(options.model)
    if options.quantize is None:
        return Subject(path)
    from firesteel.backend.quantize import quantized  # loads llama.cpp

    return Subject(quantized(path, options.quantize))
