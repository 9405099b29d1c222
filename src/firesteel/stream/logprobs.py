"""Log-probabilities in OpenAI's two shapes."""

import codecs

from firesteel.types import Tokenizer, TokenLogprob
from firesteel.wire.openai_chat import ChatLogprobs, ContentLogprob, TopLogprob
from firesteel.wire.openai_completions import CompletionLogprobs

LEAST = -9999.0  # JSON has no infinity; OpenAI writes this for "impossible"

_utf8_decoder = codecs.getincrementaldecoder("utf-8")


def chat_logprobs(logprobs: list[TokenLogprob], tokenizer: Tokenizer) -> ChatLogprobs:
    """Return `logprobs` as the chat endpoint writes them."""
    return ChatLogprobs(
        content=[
            ContentLogprob(
                token=tokenizer.label(entry.token),
                logprob=max(entry.logprob, LEAST),
                bytes=list(tokenizer.piece(entry.token)),
                top_logprobs=[_top(token, logprob, tokenizer) for token, logprob in entry.top],
            )
            for entry in logprobs
        ]
    )


def _top(token: int, logprob: float, tokenizer: Tokenizer) -> TopLogprob:
    return TopLogprob(token=tokenizer.label(token), logprob=max(logprob, LEAST), bytes=list(tokenizer.piece(token)))


class CompletionLogprobsWriter:
    """Writes the logprobs of one choice as the completions endpoint does, with running text offsets.

    `start` is where the first token's text stands, in code points. A token that only continues a character
    has the offset at which that character will stand.
    """

    def __init__(self, tokenizer: Tokenizer, *, start: int = 0, with_top: bool) -> None:
        self._tokenizer = tokenizer
        self._offset = start
        self._with_top = with_top
        self._decode = _utf8_decoder("replace").decode

    def write(self, logprobs: list[TokenLogprob]) -> CompletionLogprobs:
        """Return the next tokens' `logprobs`."""
        label = self._tokenizer.label
        written = CompletionLogprobs(top_logprobs=[] if self._with_top else None)
        for entry in logprobs:
            written.tokens.append(label(entry.token))
            written.token_logprobs.append(max(entry.logprob, LEAST))
            written.text_offset.append(self._offset)
            self._offset += len(self._decode(self._tokenizer.piece(entry.token)))
            if written.top_logprobs is not None:
                likely = [*entry.top, (entry.token, entry.logprob)]
                written.top_logprobs.append({label(token): max(logprob, LEAST) for token, logprob in likely})
        return written
