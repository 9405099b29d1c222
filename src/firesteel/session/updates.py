"""What a conversation tells whoever shows it, in the order in which it happened."""

from typing import Self

import msgspec

from firesteel.errors import FiresteelError
from firesteel.session.transcript import Reason
from firesteel.types import Usage


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """A turn begins with these words; `steered`: they broke into the answer before."""

    user: str
    steered: bool = False


class TextAdded(msgspec.Struct, frozen=True, kw_only=True):
    """The answer goes on with `text`."""

    text: str
    num_tokens: int = 0


class TextTakenBack(msgspec.Struct, frozen=True, kw_only=True):
    """Of the answer, only the first `num_text` code points still stand."""

    num_text: int


class PromptProgress(msgspec.Struct, frozen=True, kw_only=True):
    """The prompt is being computed, or waits (`num_computed == 0`). Both are tokens."""

    num_computed: int
    num_prompt: int


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """The turn is over, and its answer is history."""

    reason: Reason
    usage: Usage


class Failed(msgspec.Struct, frozen=True, kw_only=True):
    """The turn, or one that should have begun by itself, failed; `code` is an OpenAI error code."""

    code: str
    message: str

    @classmethod
    def of(cls, error: FiresteelError) -> Self:
        """Return what `error` says."""
        return cls(code=error.code or "server_error", message=error.message)


class QueueChanged(msgspec.Struct, frozen=True, kw_only=True):
    """What waits now: words that break in at the next boundary, and words for later turns."""

    steering: tuple[str, ...]
    queued: tuple[str, ...]


class Returned(msgspec.Struct, frozen=True, kw_only=True):
    """These words were not sent, or not answered: they belong back into the input line."""

    texts: tuple[str, ...]


Update = Started | TextAdded | TextTakenBack | PromptProgress | Ended | Failed | QueueChanged | Returned
