"""A model, loaded and ready to hold a conversation. The engine is imported when it is: the input line comes first."""

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from firesteel.cli.guarding import opener, order_of
from firesteel.config import EngineConfig, GuardLevel
from firesteel.session.turn import Runtime
from firesteel.types import ChatPrompt, Message, Tokenizer

if TYPE_CHECKING:
    from firesteel.engine.worker import EngineWorker

PROBE = "def café(x):\n\t return [x, 'naïve', \"日本\", 12345.67]  # 🦊\r\n"
NUM_LABELS = 256  # of the vocabulary, evenly spaced


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a conversation is held with; `None` leaves it to the model."""

    engine: EngineConfig
    temperature: float | None = None
    seed: int | None = None
    max_tokens: int | None = None
    guard: GuardLevel = "rewrite"

    @property
    def name(self) -> str:
        """How the model is called."""
        return "scripted" if self.engine.backend == "scripted" else self.engine.model

    def with_model(self, name: str) -> "Settings":
        """Return the same settings for another model."""
        return msgspec.structs.replace(self, engine=msgspec.structs.replace(self.engine, model=name))


class Loaded(NamedTuple):
    """A running engine, which its owner must close, and the runtime that it makes."""

    worker: "EngineWorker"
    runtime: Runtime


class ModelTemplates:
    """A model's own chat template, as `session.turn.Templates`."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def prompt(self, messages: tuple[Message, ...]) -> list[int]:
        """Return the ids of a whole conversation. Raises RequestError where the template does not take it."""
        from firesteel.request.render import tokens_of

        return tokens_of(ChatPrompt(messages=messages), self._tokenizer)

    def tail(self, messages: tuple[Message, ...]) -> list[int]:
        """Return the ids after the last answer of `messages`. Raises RequestError where there is no fixed tail."""
        from firesteel.request.chat_template import render_tail

        return render_tail(messages, (), self._tokenizer)


def load(settings: Settings, on_crash: Callable[[], None] = lambda: None) -> Loaded:
    """Load a model that is on this machine; `on_crash` is called on the engine's thread when a bug ends it.

    Raises ModelError or ConfigError.
    """
    from firesteel.backend import open_backend
    from firesteel.engine.worker import EngineWorker

    backend = open_backend(settings.engine)
    worker = EngineWorker(backend, settings.engine, on_crash, open_guard=opener(settings.guard))
    worker.start()
    return Loaded(worker, runtime_of(worker, settings))


def runtime_of(worker: "EngineWorker", settings: Settings) -> Runtime:
    """Return what a conversation must know of a running engine."""
    backend = worker.backend
    changes = {"temperature": settings.temperature, "seed": settings.seed}
    given = {name: value for name, value in changes.items() if value is not None}
    return Runtime(
        engine=worker,
        templates=ModelTemplates(backend.tokenizer),
        sampling=msgspec.structs.replace(backend.info.sampling, **given),
        context_tokens=min(backend.capabilities.num_cells, backend.info.context_length),
        model=identity(backend.tokenizer),
        max_tokens=settings.max_tokens,
        guard=order_of(settings.guard, ChatPrompt(messages=())),
    )


def identity(tokenizer: Tokenizer) -> str:
    """Return a fingerprint of tokenizer and template: two models that share it mean the same by an id."""
    size = tokenizer.vocabulary_size
    parts = (
        size,
        tokenizer.chat_template,
        tokenizer.prompt_prefix(),
        sorted(tokenizer.end_tokens),
        tokenizer.encode(PROBE, special=False),
        [tokenizer.label(token) for token in range(0, size, max(1, size // NUM_LABELS))],
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]
