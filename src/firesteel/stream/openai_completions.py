"""Events of a completion request → SSE bytes, or one JSON body. Chunks have the response's own shape.

Order of a stream: the echoed prompts if asked for, text chunks, a chunk with each choice's finish reason, a
usage chunk without choices if it was asked for, `[DONE]`.
"""

import msgspec
from msgspec import UNSET

from firesteel.stream import sse
from firesteel.stream.logprobs import CompletionLogprobsWriter
from firesteel.stream.response import MARK, ResponseCollector, ResponseStream, encode
from firesteel.stream.tally import FINISH_REASONS
from firesteel.types import Delta, FillPrompt, Finish, Guarded, Prompt, Request, TextPrompt, Tokenizer, TokenPrompt
from firesteel.wire.guard import event_of
from firesteel.wire.openai_common import Firesteel
from firesteel.wire.openai_completions import Completion, CompletionChoice, CompletionLogprobs


class CompletionStream(ResponseStream):
    """The streamed response to a completion request. `created` is in Unix seconds."""

    def __init__(self, request: Request, *, created: int, model: str, tokenizer: Tokenizer) -> None:
        super().__init__(request, tokenizer)
        usage = None if request.include_usage else UNSET
        self._blank = Completion(
            id=response_id(request),
            created=created,
            model=model,
            choices=[],
            usage=usage,
            service_tier=request.tier or UNSET,
        )
        choices = range(self._tally.num_choices)
        self._writers = [_logprobs_writer(request, tokenizer) for _ in choices]
        self._frames = [self._frame(choice) for choice in choices]

    def begin(self) -> bytes:
        """Return the echoed prompts, if they were asked for."""
        if not self._request.echo:
            return b""
        echoes = _echoes(self._request, self._tokenizer)
        return b"".join([self._content(choice, text) for choice, text in enumerate(echoes)])

    def _frame(self, choice: int) -> tuple[bytes, bytes]:
        """Return the bytes before and after the text in a text chunk."""
        head, _, tail = self._chunk(choice, MARK).rpartition(encode(MARK))
        return head, tail

    def _delta(self, choice: int, delta: Delta) -> bytes:
        if delta.logprobs:
            return self._chunk(choice, delta.text, logprobs=self._writers[choice].write(delta.logprobs))
        return self._content(choice, delta.text) if delta.text else b""

    def _content(self, choice: int, text: str) -> bytes:
        """The hot path: only the text is encoded."""
        head, tail = self._frames[choice]
        return head + encode(text) + tail

    def _finish(self, choice: int, finish: Finish) -> bytes:
        self._tally.add(choice, finish)
        return self._chunk(choice, "", finish_reason=FINISH_REASONS[finish.reason])

    def _chunk(
        self,
        choice: int,
        text: str,
        *,
        logprobs: CompletionLogprobs | None = None,
        finish_reason: str | None = None,
    ) -> bytes:
        entry = CompletionChoice(text=text, index=choice, logprobs=logprobs, finish_reason=finish_reason)
        chunk = msgspec.structs.replace(self._blank, choices=[entry])
        if finish_reason and self._tally.is_complete and not self._request.include_usage:
            chunk.firesteel = self._tally.firesteel()
        return sse.encode(encode(chunk))

    def _guarded(self, choice: int, event: Guarded) -> bytes:
        entry = CompletionChoice(text="", index=choice)
        shift = len(_echoes(self._request, self._tokenizer)[choice]) if self._request.echo else 0
        said = Firesteel(event=event_of(event, shift))
        return sse.encode(encode(msgspec.structs.replace(self._blank, choices=[entry], firesteel=said)))

    def _usage_chunk(self) -> bytes:
        usage, firesteel = self._tally.usage(), self._tally.firesteel()
        return sse.encode(encode(msgspec.structs.replace(self._blank, usage=usage, firesteel=firesteel)))


class CompletionCollector(ResponseCollector):
    """The response to a completion request in one JSON body; arguments as for `CompletionStream`."""

    def __init__(self, request: Request, *, created: int, model: str, tokenizer: Tokenizer) -> None:
        super().__init__(request, tokenizer)
        self._created = created
        self._model = model
        choices = range(self._tally.num_choices)
        self._deltas: list[list[Delta]] = [[] for _ in choices]
        self._reasons = ["" for _ in choices]

    def _delta(self, choice: int, delta: Delta) -> None:
        self._deltas[choice].append(delta)

    def _finish(self, choice: int, finish: Finish) -> None:
        self._tally.add(choice, finish)
        self._reasons[choice] = FINISH_REASONS[finish.reason]

    def body(self) -> bytes:
        """Return the response. Every choice has finished."""
        assert self._tally.is_complete
        num_choices = self._tally.num_choices
        echoes = _echoes(self._request, self._tokenizer) if self._request.echo else [""] * num_choices
        return encode(
            Completion(
                id=response_id(self._request),
                created=self._created,
                model=self._model,
                choices=[self._choice(choice, echo) for choice, echo in enumerate(echoes)],
                usage=self._tally.usage(),
                firesteel=self._tally.firesteel(),
                service_tier=self._request.tier or UNSET,
            )
        )

    def _choice(self, choice: int, echo: str) -> CompletionChoice:
        deltas = self._deltas[choice]
        logprobs = None
        if self._request.sampling.num_logprobs is not None:
            entries = [entry for delta in deltas for entry in delta.logprobs]
            logprobs = _logprobs_writer(self._request, self._tokenizer).write(entries)
        return CompletionChoice(
            text=echo + "".join([delta.text for delta in deltas]),
            index=choice,
            logprobs=logprobs,
            finish_reason=self._reasons[choice],
        )


def response_id(request: Request) -> str:
    """Return the id that the response to `request` carries."""
    return f"cmpl-{request.id}"


def _logprobs_writer(request: Request, tokenizer: Tokenizer) -> CompletionLogprobsWriter:
    return CompletionLogprobsWriter(tokenizer, with_top=bool(request.sampling.num_logprobs))


def _echoes(request: Request, tokenizer: Tokenizer) -> list[str]:
    """Return the prompt of every choice as text."""
    return [text for prompt in request.prompts for text in [_echo(prompt, tokenizer)] * request.n]


def _echo(prompt: Prompt, tokenizer: Tokenizer) -> str:
    if isinstance(prompt, TextPrompt):
        return prompt.text
    if isinstance(prompt, FillPrompt):
        return prompt.prefix
    assert isinstance(prompt, TokenPrompt)
    return b"".join(map(tokenizer.piece, prompt.tokens)).decode(errors="replace")
