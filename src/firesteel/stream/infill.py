"""Events of an infill request → SSE bytes, or one JSON body, in llama.cpp's words."""

from typing import Any

import msgspec

from firesteel.stream import sse
from firesteel.stream.response import ResponseCollector, ResponseStream, encode
from firesteel.types import Delta, Finish, Request, Tokenizer
from firesteel.wire.infill import Infill, InfillPart, InfillTimings


class InfillStream(ResponseStream):
    """The streamed insertions; the last event of each is its `Infill`, without content."""

    def __init__(self, request: Request, *, model: str, tokenizer: Tokenizer) -> None:
        super().__init__(request, tokenizer)
        self._model = model
        self._texts = [""] * self._tally.num_choices

    def begin(self) -> bytes:
        """Return nothing: an insertion has no head."""
        return b""

    def _delta(self, choice: int, delta: Delta) -> bytes:
        self._texts[choice] += delta.text
        return sse.encode(encode(InfillPart(index=choice, content=delta.text))) if delta.text else b""

    def _finish(self, choice: int, finish: Finish) -> bytes:
        self._tally.add(choice, finish)
        end = infill_of(self._request, self._model, self._tokenizer, choice, finish, self._texts[choice])
        end.content = ""
        if self._tally.is_complete:
            end.firesteel = self._tally.firesteel()
        return sse.encode(encode(selected(end, self._request.response_fields)))

    def end(self) -> bytes:
        """Return nothing: the last event says so itself."""
        return b""

    def _usage_chunk(self) -> bytes:
        return b""


class InfillCollector(ResponseCollector):
    """The insertion in one JSON body; a list of them when several were asked for."""

    def __init__(self, request: Request, *, model: str, tokenizer: Tokenizer) -> None:
        super().__init__(request, tokenizer)
        self._model = model
        self._texts = [""] * self._tally.num_choices
        self._finished: dict[int, Finish] = {}

    def _delta(self, choice: int, delta: Delta) -> None:
        self._texts[choice] += delta.text

    def _finish(self, choice: int, finish: Finish) -> None:
        self._tally.add(choice, finish)
        self._finished[choice] = finish

    def body(self) -> bytes:
        """Return the response. Every insertion has finished."""
        assert self._tally.is_complete
        bodies = [self._body(choice) for choice in range(self._tally.num_choices)]
        return encode(bodies[0] if len(bodies) == 1 else bodies)

    def _body(self, choice: int) -> Any:
        finish, text = self._finished[choice], self._texts[choice]
        body = infill_of(self._request, self._model, self._tokenizer, choice, finish, text)
        body.firesteel = self._tally.firesteel()
        return selected(body, self._request.response_fields)


def infill_of(request: Request, model: str, tokenizer: Tokenizer, choice: int, finish: Finish, text: str) -> Infill:
    """Return what llama.cpp says of a finished insertion."""
    usage = finish.usage
    word = stop_word(request, tokenizer, finish, len(text)) if finish.reason == "stop" else ""
    return Infill(
        index=choice,
        content=text,
        model=model,
        tokens_predicted=usage.num_output_tokens,
        tokens_evaluated=usage.num_prompt_tokens,
        tokens_cached=usage.num_prompt_tokens + usage.num_output_tokens,
        has_new_line="\n" in text,
        truncated=False,
        stop_type="limit" if finish.reason != "stop" else "word" if word else "eos",
        stopping_word=word,
        timings=_timings(finish),
    )


def stop_word(request: Request, tokenizer: Tokenizer, finish: Finish, num_text: int) -> str:
    """Return the stop string that ended an answer, the longest that fits; "" when none did.

    The answer's tokens reach to the end of the stop string, its `num_text` released characters up to it.
    """
    if not request.stop:
        return ""
    text = b"".join(map(tokenizer.piece, finish.tokens)).decode(errors="replace")
    return max((stop for stop in request.stop if text.startswith(stop, num_text)), key=len, default="")


def _timings(finish: Finish) -> InfillTimings:
    usage = finish.usage
    num_prompt = usage.num_prompt_tokens - usage.num_cached_tokens
    return InfillTimings(
        cache_n=usage.num_cached_tokens,
        prompt_n=num_prompt,
        prompt_ms=1000 * usage.prefill_seconds,
        prompt_per_token_ms=_ratio(1000 * usage.prefill_seconds, num_prompt),
        prompt_per_second=_ratio(num_prompt, usage.prefill_seconds),
        predicted_n=usage.num_output_tokens,
        predicted_ms=1000 * usage.decode_seconds,
        predicted_per_token_ms=_ratio(1000 * usage.decode_seconds, usage.num_output_tokens),
        predicted_per_second=_ratio(usage.num_output_tokens, usage.decode_seconds),
    )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def selected(body: Infill, paths: tuple[str, ...]) -> Any:
    """Return the parts of `body` that `paths` name (`timings/prompt_n`), each under its path; all without paths."""
    if not paths:
        return body
    found = {}
    for path in paths:
        value: Any = msgspec.to_builtins(body)
        for key in path.split("/"):
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None:
            found[path] = value
    return found
