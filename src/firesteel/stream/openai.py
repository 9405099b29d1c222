"""The response to any OpenAI request, by its kind."""

from firesteel.stream.openai_chat import ChatCollector, ChatStream
from firesteel.stream.openai_completions import CompletionCollector, CompletionStream
from firesteel.stream.response import ResponseCollector, ResponseStream
from firesteel.types import Request, Tokenizer


def stream_of(request: Request, *, created: int, model: str, tokenizer: Tokenizer) -> ResponseStream:
    """Return the streamed response. `created` is in Unix seconds."""
    if request.kind == "chat":
        return ChatStream(request, created=created, model=model, tokenizer=tokenizer)
    return CompletionStream(request, created=created, model=model, tokenizer=tokenizer)


def collector_of(request: Request, *, created: int, model: str, tokenizer: Tokenizer) -> ResponseCollector:
    """Return what collects the response into one body; arguments as for `stream_of`."""
    if request.kind == "chat":
        return ChatCollector(request, created=created, model=model, tokenizer=tokenizer)
    return CompletionCollector(request, created=created, model=model, tokenizer=tokenizer)
