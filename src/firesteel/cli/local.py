"""Runs one prompt on an engine in this process, for `run` and `complete`."""

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from firesteel.cli.common import ensure_model
from firesteel.cli.guarding import opener
from firesteel.config import EngineConfig, GuardLevel
from firesteel.errors import ContextTooLong
from firesteel.types import Event, Failure, Finish, Prompt, Sampling, Usage, Work
from firesteel.verdict import GuardOrder

if TYPE_CHECKING:
    from firesteel.engine.worker import EngineWorker

ID = "local"


@contextmanager
def open_engine(config: EngineConfig, guard: GuardLevel) -> "Iterator[EngineWorker]":
    """Yield a running engine on the configured model, which is pulled if need be; it ends with the context."""
    from firesteel.backend import open_backend
    from firesteel.engine.worker import EngineWorker

    ensure_model(config)
    worker = EngineWorker(open_backend(config), config, open_guard=opener(guard))
    worker.start()
    try:
        yield worker
    finally:
        worker.close()


def generate(
    worker: "EngineWorker",
    prompt: Prompt,
    sampling: Sampling,
    max_tokens: int | None,
    stop: tuple[str, ...] = (),
    guard: GuardOrder | None = None,
) -> Iterator[Event]:
    """Yield the events of one answer; closing the iterator cancels it. Raises RequestError, EngineFailure."""
    from firesteel.request.render import tokens_of
    from firesteel.wire.errors import error_of

    backend = worker.backend
    limit = min(backend.capabilities.num_cells, backend.info.context_length)
    fill_limit = limit - min(max_tokens or 256, limit // 2)
    tokens = tokens_of(prompt, backend.tokenizer, fill_limit=fill_limit)
    room = limit - len(tokens)
    if room < 1:
        raise ContextTooLong(f"the prompt has {len(tokens)} tokens and the context {limit}; ask for a larger --context")
    most = min(max_tokens or room, room)
    work = Work(id=ID, tokens=tokens, sampling=sampling, max_tokens=most, stop=stop, guard=guard)
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    worker.add(work, events.put)
    try:
        while not isinstance(event := events.get(), Finish | Failure):
            yield event
        yield event
    finally:
        worker.cancel(ID)
    if isinstance(event, Failure):
        raise error_of(event)


def summary(usage: Usage) -> str:
    """Return one line: time to first token, speed, tokens."""
    first = usage.queue_seconds + usage.prefill_seconds
    return (
        f"time to first token {first:.3f} s · {tokens_per_second(usage):.1f} tokens/s · "
        f"{usage.num_output_tokens} tokens · prompt {usage.num_prompt_tokens} tokens"
    )


def tokens_per_second(usage: Usage) -> float:
    """Return the decode speed from the first token to the last."""
    return (usage.num_output_tokens - 1) / usage.decode_seconds if usage.decode_seconds > 0 else 0.0
