"""Tokens to text, incrementally: a character leaves only when all of its bytes are here."""

import codecs
from collections.abc import Callable, Iterable

_utf8_decoder = codecs.getincrementaldecoder("utf-8")


class Detokenizer:
    """Turns the tokens of one sequence into text. Bytes that can never be a character become U+FFFD.

    The concatenated output does not depend on how the tokens were grouped. Bytes of a character that the
    sequence never completed are not emitted.
    """

    def __init__(self, piece: Callable[[int], bytes]) -> None:
        self._piece = piece
        self._decoder = _utf8_decoder("replace")
        self._decode = self._decoder.decode

    @property
    def is_complete(self) -> bool:
        """Whether all bytes so far have left as characters."""
        return not self._decoder.getstate()[0]

    def feed(self, tokens: Iterable[int]) -> str:
        """Return the text that `tokens` complete."""
        return self._decode(b"".join(map(self._piece, tokens)))
