"""What was said, and the exact token ids that said it."""

from typing import Any, Literal, Self

import msgspec

from firesteel.errors import RequestError
from firesteel.types import FinishReason, Message

VERSION = 1  # of `Saved`

Reason = FinishReason | Literal["failed"]


class Exchange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One user message and its answer; an answer that was broken off has a `reason` other than `stop`.

    `prompt` are the ids before the answer that the exchange before it does not hold; where `fresh`, all of them.
    `tokens` are the answer's own ids. `None`: not known, or of another model.
    """

    user: str
    answer: str
    reason: Reason
    fresh: bool = False
    prompt: list[int] | None = None
    tokens: list[int] | None = None


class Saved(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A conversation as it is kept between two processes."""

    version: int
    id: str
    model: str  # identity of the tokenizer and template that the ids belong to
    system: str | None = None
    exchanges: list[Exchange] = []
    waiting: list[str] = []  # words that were never sent

    @classmethod
    def of(cls, data: Any) -> Self:
        """Return what `to_dict` made. Raises RequestError when it is something else."""
        try:
            saved = msgspec.convert(data, cls)
        except msgspec.ValidationError as error:
            raise RequestError(f"this is no saved conversation: {error}") from None
        if saved.version != VERSION:
            raise RequestError(f"the conversation is of version {saved.version}; this program reads {VERSION}")
        return saved


class Transcript(msgspec.Struct, kw_only=True):
    """The exchanges so far, oldest first."""

    system: str | None = None
    exchanges: list[Exchange] = []

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation as a chat template takes it."""
        messages = [Message(role="system", content=self.system)] if self.system else []
        for exchange in self.exchanges:
            messages.append(Message(role="user", content=exchange.user))
            messages.append(Message(role="assistant", content=exchange.answer))
        return tuple(messages)

    @property
    def ids(self) -> list[int] | None:
        """The exact ids of everything said; `None` where they must be rendered, as before the first turn."""
        parts: list[list[int]] = []
        for exchange in reversed(self.exchanges):
            if exchange.prompt is None or exchange.tokens is None:
                return None
            parts += [exchange.tokens, exchange.prompt]
            if exchange.fresh:
                return [token for part in reversed(parts) for token in part]
        return None

    def forget_ids(self) -> None:
        """Keep the words only: the ids belong to another model or another system message."""
        self.exchanges = [
            msgspec.structs.replace(exchange, fresh=False, prompt=None, tokens=None) for exchange in self.exchanges
        ]
