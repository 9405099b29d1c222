"""Events of a messages request → SSE bytes, or one JSON body.

Order of a stream: `message_start`; for each block `content_block_start`, deltas, `content_block_stop`;
`message_delta` with the reason and the usage; `message_stop`. How much of the prompt was cached is known at
the end only, so `message_start` has no input tokens yet.
"""

import json
from typing import Any

from firesteel.stream import sse
from firesteel.stream.infill import stop_word
from firesteel.stream.openai_chat import Parser, finish_of, parser_of, pieces_of
from firesteel.stream.response import ResponseCollector, ResponseStream, encode
from firesteel.types import Delta, Finish, Request, Tokenizer
from firesteel.wire.anthropic import (
    AnswerBlock,
    AnswerMessage,
    BlockDelta,
    BlockStart,
    BlockStop,
    InputDelta,
    MessageDelta,
    MessageStart,
    MessageStop,
    MessagesUsage,
    StopDelta,
    TextBlock,
    TextDelta,
    ToolUseBlock,
)
from firesteel.wire.openai_common import WireUsage
from firesteel.wire.tool_calls import CLOSE, CallBegin, Content, Piece

_REASONS = {"stop": "end_turn", "length": "max_tokens", "cancelled": "max_tokens", "steered": "end_turn"}
_REASONS["content_filter"] = "refusal"
_Event = MessageStart | BlockStart | BlockDelta | BlockStop | MessageDelta | MessageStop


class MessageStream(ResponseStream):
    """The streamed response to a messages request, which has one choice."""

    _error_event = "error"

    def __init__(self, request: Request, *, model: str, tokenizer: Tokenizer) -> None:
        super().__init__(request, tokenizer)
        self._model = model
        self._parser = parser_of(request, 0, "toolu")
        self._num_text = 0  # characters released
        self._num_blocks = 0
        self._open: type[AnswerBlock] | None = None  # the kind of the block that is being written

    def begin(self) -> bytes:
        """Return `message_start`."""
        message = AnswerMessage(
            id=response_id(self._request),
            model=self._model,
            content=[],
            usage=MessagesUsage(input_tokens=0, output_tokens=0),
        )
        return _event("message_start", MessageStart(message))

    def _delta(self, choice: int, delta: Delta) -> bytes:
        self._num_text += len(delta.text)
        pieces = self._tally.well_formed(pieces_of(self._parser, delta.text)) if delta.text else []
        return b"".join(map(self._piece, pieces))

    def _piece(self, piece: Piece) -> bytes:
        if isinstance(piece, CallBegin):
            return self._begin_block(ToolUseBlock(id=piece.id, name=piece.name, input={}))
        opening = b""
        if isinstance(piece, Content) and self._open is not TextBlock:
            opening = self._begin_block(TextBlock(text=""))
        added = TextDelta(piece.text) if isinstance(piece, Content) else InputDelta(piece.text)
        return opening + _event("content_block_delta", BlockDelta(self._num_blocks - 1, added))

    def _begin_block(self, block: AnswerBlock) -> bytes:
        closing = self._end_block()
        self._open = type(block)
        self._num_blocks += 1
        return closing + _event("content_block_start", BlockStart(self._num_blocks - 1, block))

    def _end_block(self) -> bytes:
        is_open, self._open = self._open is not None, None
        return _event("content_block_stop", BlockStop(self._num_blocks - 1)) if is_open else b""

    def _finish(self, choice: int, finish: Finish) -> bytes:
        self._tally.add(choice, finish)
        pieces = self._tally.well_formed(finish_of(self._parser, finish))
        held = b"".join(map(self._piece, pieces)) + self._end_block()
        reason, sequence = stop_of(self._request, self._tokenizer, self._parser, finish, self._num_text)
        usage = usage_of(self._tally.usage(), self._request)
        end = MessageDelta(StopDelta(reason, sequence), usage, self._tally.firesteel())
        return held + _event("message_delta", end)

    def end(self) -> bytes:
        """Return `message_stop`."""
        return b"" if self._failed else _event("message_stop", MessageStop())

    def _usage_chunk(self) -> bytes:
        return b""


class MessageCollector(ResponseCollector):
    """The response to a messages request in one JSON body."""

    def __init__(self, request: Request, *, model: str, tokenizer: Tokenizer) -> None:
        super().__init__(request, tokenizer)
        self._model = model
        self._parser = parser_of(request, 0, "toolu")
        self._pieces: list[Piece] = []
        self._num_text = 0
        self._finished: Finish | None = None

    def _delta(self, choice: int, delta: Delta) -> None:
        self._num_text += len(delta.text)
        self._pieces += self._tally.well_formed(pieces_of(self._parser, delta.text)) if delta.text else []

    def _finish(self, choice: int, finish: Finish) -> None:
        self._tally.add(choice, finish)
        self._pieces += self._tally.well_formed(finish_of(self._parser, finish))
        self._finished = finish

    def body(self) -> bytes:
        """Return the response. The choice has finished."""
        assert self._finished is not None
        reason, sequence = stop_of(self._request, self._tokenizer, self._parser, self._finished, self._num_text)
        return encode(
            AnswerMessage(
                id=response_id(self._request),
                model=self._model,
                content=_blocks(self._pieces),
                stop_reason=reason,
                stop_sequence=sequence,
                usage=usage_of(self._tally.usage(), self._request),
                firesteel=self._tally.firesteel(),
            )
        )


def response_id(request: Request) -> str:
    """Return the id that the response to `request` carries."""
    return f"msg_{request.id}"


def usage_of(usage: WireUsage, request: Request) -> MessagesUsage:
    """Return `usage` as Anthropic counts it."""
    cached = usage.prompt_tokens_details.cached_tokens
    return MessagesUsage(
        input_tokens=usage.prompt_tokens - cached,
        output_tokens=usage.completion_tokens,
        cache_read_input_tokens=cached,
        service_tier="priority" if request.tier == "priority" else "standard",
    )


def stop_of(
    request: Request, tokenizer: Tokenizer, parser: Parser | None, finish: Finish, num_text: int
) -> tuple[str, str | None]:
    """Return why the message ended, and the stop sequence that did it."""
    if finish.reason == "stop" and parser is not None and parser.num_calls:
        return "tool_use", None
    word = stop_word(request, tokenizer, finish, num_text) if finish.reason == "stop" else ""
    if word and word != CLOSE:
        return "stop_sequence", word
    return _REASONS[finish.reason], None


def _blocks(pieces: list[Piece]) -> list[AnswerBlock]:
    """Return the blocks of an answer. Arguments that are no JSON stand under `INVALID_JSON`, as Anthropic advises."""
    blocks: list[AnswerBlock] = []
    for piece in pieces:
        last = blocks[-1] if blocks else None
        if isinstance(piece, CallBegin):
            blocks.append(ToolUseBlock(id=piece.id, name=piece.name, input=""))
        elif isinstance(piece, Content):
            if isinstance(last, TextBlock):
                last.text += piece.text
            else:
                blocks.append(TextBlock(text=piece.text))
        else:
            assert isinstance(last, ToolUseBlock)
            last.input += piece.text
    for block in blocks:
        if isinstance(block, ToolUseBlock):
            block.input = _input(block.input)
    return blocks


def _input(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return {"INVALID_JSON": text}


def _event(name: str, event: _Event) -> bytes:
    return sse.encode(encode(event), name)
