"""Events of a chat request → SSE bytes, or one JSON body.

Order of a stream: role chunks, content and tool-call chunks, a chunk with each choice's finish reason, a
usage chunk without choices if it was asked for, `[DONE]`.
"""

import msgspec
from msgspec import UNSET, UnsetType

from firesteel.stream import sse
from firesteel.stream.chat_calls import ChatCalls
from firesteel.stream.logprobs import chat_logprobs
from firesteel.stream.response import MARK, ResponseCollector, ResponseStream, encode
from firesteel.stream.tally import FINISH_REASONS
from firesteel.types import ChatPrompt, Delta, Finish, Guarded, Request, Tokenizer, TokenLogprob
from firesteel.wire.chat_tools import CustomCall, CustomDelta, FunctionCall, FunctionDelta, ToolCall, ToolCallDelta
from firesteel.wire.guard import event_of
from firesteel.wire.openai_chat import (
    AssistantMessage,
    ChatChoice,
    ChatChunk,
    ChatChunkChoice,
    ChatCompletion,
    ChatDelta,
    ChatLogprobs,
)
from firesteel.wire.openai_common import Firesteel
from firesteel.wire.tool_calls import CLOSE, CallArguments, CallBegin, Content, Parsed, Piece, ToolCallParser


class ChatStream(ResponseStream):
    """The streamed response to a chat request. `created` is in Unix seconds."""

    def __init__(self, request: Request, *, created: int, model: str, tokenizer: Tokenizer) -> None:
        super().__init__(request, tokenizer)
        usage = None if request.include_usage else UNSET
        self._blank = ChatChunk(
            id=response_id(request),
            created=created,
            model=model,
            choices=[],
            usage=usage,
            service_tier=request.tier or UNSET,
        )
        choices = range(self._tally.num_choices)
        self._parsers = [parser_of(request, choice) for choice in choices]
        self._frames = [self._frame(choice) for choice in choices]

    def begin(self) -> bytes:
        """Return the role chunks."""
        role = ChatDelta(role="assistant", content="")
        return b"".join([self._chunk(choice, role) for choice in range(self._tally.num_choices)])

    def _frame(self, choice: int) -> tuple[bytes, bytes]:
        """Return the bytes before and after the text in a content chunk."""
        head, _, tail = self._chunk(choice, ChatDelta(content=MARK)).rpartition(encode(MARK))
        return head, tail

    def _delta(self, choice: int, delta: Delta) -> bytes:
        parser = self._parsers[choice]
        if parser is None and not delta.logprobs:
            return self._content(choice, delta.text) if delta.text else b""
        return self._pieces(choice, self._tally.well_formed(pieces_of(parser, delta.text)), delta.logprobs)

    def _content(self, choice: int, text: str) -> bytes:
        """The hot path: only the text is encoded."""
        head, tail = self._frames[choice]
        return head + encode(text) + tail

    def _pieces(self, choice: int, pieces: list[Piece], logprobs: list[TokenLogprob]) -> bytes:
        """Return a chunk per piece; the first chunk carries the logprobs, also when no text is out yet."""
        if not logprobs:
            return b"".join([self._piece(choice, piece) for piece in pieces])
        first = _chat_delta(pieces[0]) if pieces else ChatDelta()
        chunk = self._chunk(choice, first, logprobs=chat_logprobs(logprobs, self._tokenizer))
        return chunk + b"".join([self._piece(choice, piece) for piece in pieces[1:]])

    def _piece(self, choice: int, piece: Piece) -> bytes:
        if isinstance(piece, Content):
            return self._content(choice, piece.text)
        return self._chunk(choice, _chat_delta(piece))

    def _finish(self, choice: int, finish: Finish) -> bytes:
        self._tally.add(choice, finish)
        parser = self._parsers[choice]
        held = self._pieces(choice, self._tally.well_formed(finish_of(parser, finish)), [])
        return held + self._chunk(choice, ChatDelta(), finish_reason=_finish_reason(parser, finish))

    def _chunk(
        self,
        choice: int,
        delta: ChatDelta,
        *,
        logprobs: ChatLogprobs | None = None,
        finish_reason: str | None = None,
    ) -> bytes:
        entry = ChatChunkChoice(index=choice, delta=delta, logprobs=logprobs, finish_reason=finish_reason)
        chunk = msgspec.structs.replace(self._blank, choices=[entry])
        if finish_reason and self._tally.is_complete and not self._request.include_usage:
            chunk.firesteel = self._tally.firesteel()
        return sse.encode(encode(chunk))

    def _guarded(self, choice: int, event: Guarded) -> bytes:
        entry = ChatChunkChoice(index=choice, delta=ChatDelta())
        said = Firesteel(event=event_of(event))
        return sse.encode(encode(msgspec.structs.replace(self._blank, choices=[entry], firesteel=said)))

    def _usage_chunk(self) -> bytes:
        usage, firesteel = self._tally.usage(), self._tally.firesteel()
        return sse.encode(encode(msgspec.structs.replace(self._blank, usage=usage, firesteel=firesteel)))


class ChatCollector(ResponseCollector):
    """The response to a chat request in one JSON body; arguments as for `ChatStream`."""

    def __init__(self, request: Request, *, created: int, model: str, tokenizer: Tokenizer) -> None:
        super().__init__(request, tokenizer)
        self._created = created
        self._model = model
        choices = range(self._tally.num_choices)
        self._parsers = [parser_of(request, choice) for choice in choices]
        self._pieces: list[list[Piece]] = [[] for _ in choices]
        self._logprobs: list[list[TokenLogprob]] = [[] for _ in choices]
        self._reasons = ["" for _ in choices]

    def _delta(self, choice: int, delta: Delta) -> None:
        self._pieces[choice] += self._tally.well_formed(pieces_of(self._parsers[choice], delta.text))
        self._logprobs[choice] += delta.logprobs

    def _finish(self, choice: int, finish: Finish) -> None:
        self._tally.add(choice, finish)
        parser = self._parsers[choice]
        self._pieces[choice] += self._tally.well_formed(finish_of(parser, finish))
        self._reasons[choice] = _finish_reason(parser, finish)

    def body(self) -> bytes:
        """Return the response. Every choice has finished."""
        assert self._tally.is_complete
        return encode(
            ChatCompletion(
                id=response_id(self._request),
                created=self._created,
                model=self._model,
                choices=[self._choice(choice) for choice in range(self._tally.num_choices)],
                usage=self._tally.usage(),
                firesteel=self._tally.firesteel(),
                service_tier=self._request.tier or UNSET,
            )
        )

    def _choice(self, choice: int) -> ChatChoice:
        wants_logprobs = self._request.sampling.num_logprobs is not None
        return ChatChoice(
            index=choice,
            message=_message(self._pieces[choice]),
            logprobs=chat_logprobs(self._logprobs[choice], self._tokenizer) if wants_logprobs else None,
            finish_reason=self._reasons[choice],
        )


def response_id(request: Request) -> str:
    """Return the id that the response to `request` carries."""
    return f"chatcmpl-{request.id}"


Parser = ToolCallParser | ChatCalls


def parser_of(request: Request, choice: int, prefix: str = "call") -> Parser | None:
    """Return what parses the calls of a choice; None when there are no tools to be called, or no answer."""
    prompt = request.prompts[0]
    assert isinstance(prompt, ChatPrompt)
    if not prompt.tools or prompt.tool_choice == "none" or request.max_tokens == 0:
        return None
    names, single = [tool["function"]["name"] for tool in prompt.tools], CLOSE in request.stop
    prefix = f"{prefix}_{request.id}_{choice}"
    if prompt.custom_tools:
        return ChatCalls(prompt.custom_tools, prefix=prefix, names=names, single=single)
    return ToolCallParser(prefix=prefix, names=names, single=single)


def pieces_of(parser: Parser | None, text: str) -> list[Parsed]:
    """Return what `text` says."""
    return parser.feed(text) if parser else [Content(text)]


def finish_of(parser: Parser | None, finish: Finish) -> list[Parsed]:
    """Return what was still held when the answer ended."""
    return parser.finish(is_cut=finish.reason != "stop") if parser else []


def _finish_reason(parser: Parser | None, finish: Finish) -> str:
    called = parser is not None and parser.num_calls > 0
    return "tool_calls" if called and finish.reason == "stop" else FINISH_REASONS[finish.reason]


def _chat_delta(piece: Piece) -> ChatDelta:
    if isinstance(piece, Content):
        return ChatDelta(content=piece.text)
    call = ToolCallDelta(index=piece.index)
    name: str | UnsetType = UNSET
    text = ""
    if isinstance(piece, CallBegin):
        call.id, call.type, name = piece.id, "custom" if piece.is_custom else "function", piece.name
    else:
        text = piece.text
    if piece.is_custom:
        call.custom = CustomDelta(name=name, input=text)
    else:
        call.function = FunctionDelta(name=name, arguments=text)
    return ChatDelta(tool_calls=[call])


def _message(pieces: list[Piece]) -> AssistantMessage:
    content = "".join([piece.text for piece in pieces if isinstance(piece, Content)])
    calls: list[ToolCall] = []
    for piece in pieces:
        if isinstance(piece, CallBegin):
            calls.append(_call(piece))
        elif isinstance(piece, CallArguments):
            _add(calls[piece.index], piece.text)
    return AssistantMessage(
        content=None if calls and not content else content,
        tool_calls=calls or UNSET,
    )


def _call(begin: CallBegin) -> ToolCall:
    if begin.is_custom:
        return ToolCall(id=begin.id, type="custom", custom=CustomCall(name=begin.name, input=""))
    return ToolCall(id=begin.id, function=FunctionCall(name=begin.name, arguments=""))


def _add(call: ToolCall, text: str) -> None:
    if isinstance(call.custom, CustomCall):
        call.custom.input += text
    elif isinstance(call.function, FunctionCall):
        call.function.arguments += text
