"""The response to any request, by its kind."""

from firesteel.errors import FiresteelError
from firesteel.stream import sse
from firesteel.stream.anthropic import MessageCollector, MessageStream
from firesteel.stream.infill import InfillCollector, InfillStream
from firesteel.stream.openai_chat import ChatCollector, ChatStream
from firesteel.stream.openai_completions import CompletionCollector, CompletionStream
from firesteel.stream.response import ResponseCollector, ResponseStream
from firesteel.types import Request, Tokenizer
from firesteel.wire.errors import encode_error


def stream_of(request: Request, *, created: int, model: str, tokenizer: Tokenizer) -> ResponseStream:
    """Return the streamed response. `created` is in Unix seconds."""
    if request.kind == "messages":
        return MessageStream(request, model=model, tokenizer=tokenizer)
    if request.kind == "infill":
        return InfillStream(request, model=model, tokenizer=tokenizer)
    if request.kind == "chat":
        return ChatStream(request, created=created, model=model, tokenizer=tokenizer)
    return CompletionStream(request, created=created, model=model, tokenizer=tokenizer)


def collector_of(request: Request, *, created: int, model: str, tokenizer: Tokenizer) -> ResponseCollector:
    """Return what collects the response into one body; arguments as for `stream_of`."""
    if request.kind == "messages":
        return MessageCollector(request, model=model, tokenizer=tokenizer)
    if request.kind == "infill":
        return InfillCollector(request, model=model, tokenizer=tokenizer)
    if request.kind == "chat":
        return ChatCollector(request, created=created, model=model, tokenizer=tokenizer)
    return CompletionCollector(request, created=created, model=model, tokenizer=tokenizer)


def error_event(error: FiresteelError, kind: str) -> bytes:
    """Return `error` as the last SSE event of a response to a request of this kind."""
    return sse.encode(encode_error(error, kind), "error" if kind == "messages" else "")
