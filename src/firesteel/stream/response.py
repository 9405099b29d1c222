"""What the responses of both endpoints have in common: a stream of SSE bytes, and its twin in one body."""

from abc import ABC, abstractmethod

import msgspec

from firesteel.errors import EngineFailure, FiresteelError
from firesteel.stream import sse
from firesteel.stream.tally import Tally
from firesteel.types import Delta, Event, Failure, Finish, Guarded, Progress, Request, Rewind, Tokenizer
from firesteel.wire.errors import encode_error, error_of

encode = msgspec.json.Encoder().encode

MARK = "\x00text\x00"
"""Stands for the text in a sample chunk, whose constant head and tail are then cut out."""


def taken_back() -> EngineFailure:
    """Return what a rewind of released text is for a client that cannot take text back (law 5)."""
    error = EngineFailure("text that was sent already was taken back; send the request again")
    error.code = "text_taken_back"
    return error


class ResponseStream(ABC):
    """The streamed response to one request. Every method returns SSE bytes to be sent, perhaps none.

    Call `begin` once, `event` for each event of each choice, and `end` when every choice has finished or one
    has failed. After a failure all methods return nothing.
    """

    def __init__(self, request: Request, tokenizer: Tokenizer) -> None:
        self._request = request
        self._tokenizer = tokenizer
        self._tally = Tally(request)
        self._failed = False

    _error_event = ""  # the name of an SSE event that carries an error

    @abstractmethod
    def begin(self) -> bytes:
        """Return what can be sent before there is any text."""

    def event(self, choice: int, event: Event) -> bytes:
        """Return what `event` of a choice adds to the stream."""
        if self._failed:
            return b""
        if isinstance(event, Delta):
            return self._delta(choice, event)
        if isinstance(event, Finish):
            return self._finish(choice, event)
        if isinstance(event, Failure):
            return self.fail(error_of(event))
        if isinstance(event, Rewind):
            return self.fail(taken_back())
        if isinstance(event, Guarded):
            return self._guarded(choice, event)
        assert isinstance(event, Progress)
        return sse.comment(f"prefill {event.num_computed}/{event.num_prompt}")

    def end(self) -> bytes:
        """Return the usage chunk, if it was asked for, and `[DONE]`."""
        if self._failed:
            return b""
        assert self._tally.is_complete
        return (self._usage_chunk() if self._request.include_usage else b"") + sse.DONE

    def fail(self, error: FiresteelError) -> bytes:
        """Return `error` as the last event: no `[DONE]` follows, since the answer is not complete."""
        self._failed = True
        return sse.encode(encode_error(error, self._request.kind), self._error_event)

    @abstractmethod
    def _delta(self, choice: int, delta: Delta) -> bytes: ...

    @abstractmethod
    def _finish(self, choice: int, finish: Finish) -> bytes: ...

    @abstractmethod
    def _usage_chunk(self) -> bytes: ...

    def _guarded(self, choice: int, event: Guarded) -> bytes:
        """Return what the guard says at this place: nothing where the format has no room for it before the end."""
        return b""


class ResponseCollector(ABC):
    """The response to one request in one JSON body: the twin of `ResponseStream`."""

    def __init__(self, request: Request, tokenizer: Tokenizer) -> None:
        self._request = request
        self._tokenizer = tokenizer
        self._tally = Tally(request)

    def event(self, choice: int, event: Event) -> None:
        """Take in `event` of a choice. Raises the error that a `Failure` or a `Rewind` stands for."""
        if isinstance(event, Delta):
            self._delta(choice, event)
        elif isinstance(event, Finish):
            self._finish(choice, event)
        elif isinstance(event, Failure):
            raise error_of(event)
        elif isinstance(event, Rewind):
            raise taken_back()

    @abstractmethod
    def body(self) -> bytes:
        """Return the response. Every choice has finished."""

    @abstractmethod
    def _delta(self, choice: int, delta: Delta) -> None: ...

    @abstractmethod
    def _finish(self, choice: int, finish: Finish) -> None: ...
