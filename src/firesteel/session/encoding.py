"""A text, the exact token ids that stand for it, and the places where both can be cut."""

import codecs
from array import array
from collections.abc import Iterator, Sequence
from itertools import takewhile
from sys import getsizeof

import msgspec

from firesteel.types import Tokenizer

_utf8_decoder = codecs.getincrementaldecoder("utf-8")


class Border(msgspec.Struct, frozen=True):
    """A cut: the first `offset` code points of a text are its first `count` tokens."""

    offset: int
    count: int

    def __add__(self, other: "Border") -> "Border":
        return Border(self.offset + other.offset, self.count + other.count)


START = Border(0, 0)


class Encoding(msgspec.Struct, frozen=True):
    """`tokens` spell `text`: first what was encoded, then, from `answer` on, what the model itself has chosen."""

    text: str
    tokens: "array[int]"
    controls: tuple[Border, ...]  # ascending; each stands before a control token
    answer: Border

    @property
    def num_bytes(self) -> int:
        """Host memory that this takes, about."""
        return getsizeof(self.text) + getsizeof(self.tokens) + 128 * len(self.controls)

    def begins_with(self, other: "Encoding") -> bool:
        """Return whether this says all that `other` says, in the same tokens."""
        return self.text.startswith(other.text) and self.tokens[: len(other.tokens)] == other.tokens

    def borders(self, length: int, tokenizer: Tokenizer) -> Iterator[Border]:
        """Yield the borders in the first `length` code points, the last one first."""
        if self.answer.offset <= length:
            places = _places(self.tokens[self.answer.count :], tokenizer)
            inside = takewhile(lambda border: border.offset <= length, (self.answer + place for place in places))
            yield from reversed([self.answer, *inside])
        yield from (border for border in reversed(self.controls) if border.offset <= length)


def encode(text: str, tokenizer: Tokenizer) -> Encoding:
    """Return the plain encoding of `text`, in which control tokens are recognised."""
    tokens = tokenizer.encode(text, special=True)
    controls = tuple(_controls(text, tokens, tokenizer))
    return Encoding(text, array("i", tokens), controls, Border(len(text), len(tokens)))


def decode(tokens: Sequence[int], tokenizer: Tokenizer) -> Encoding:
    """Return the encoding whose tokens are known, as of an earlier process; control tokens are written out.

    Ends at bytes that are no UTF-8: an answer that broke off inside a character comes back without it.
    """
    parts: list[str] = []
    controls: list[Border] = []
    offset = after = 0  # behind the last control token
    for count, token in enumerate([*tokens, None]):
        if token is not None and tokenizer.piece(token):
            continue
        try:
            text = b"".join(map(tokenizer.piece, tokens[after:count])).decode("utf-8")
        except UnicodeDecodeError:
            known = Encoding("".join(parts), array("i", tokens[:after]), tuple(controls), Border(offset, after))
            return with_answer(known, tokens[after:], tokenizer)
        label = tokenizer.label(token) if token is not None else ""
        parts += [text, label]
        if token is not None:
            controls.append(Border(offset + len(text), count))
        offset, after = offset + len(text) + len(label), count + 1
    return Encoding("".join(parts), array("i", tokens), tuple(controls), Border(offset, len(tokens)))


def join(first: Encoding, border: Border, second: Encoding) -> Encoding:
    """Return `first` up to `border`, followed by `second`, which begins with a control token or is empty."""
    kept = [control for control in first.controls if control.offset < border.offset]
    return Encoding(
        first.text[: border.offset] + second.text,
        first.tokens[: border.count] + second.tokens,
        (*kept, *(border + control for control in second.controls)),
        border + second.answer,
    )


def with_answer(prompt: Encoding, tokens: Sequence[int], tokenizer: Tokenizer) -> Encoding:
    """Return `prompt` followed by the answer `tokens`, as far as they spell visible, complete characters."""
    spelled = list(_spell(tokens, tokenizer))
    count = spelled[-1][0] if spelled else 0
    text = prompt.text + "".join([text for _, text in spelled])
    return Encoding(text, prompt.tokens + array("i", tokens[:count]), prompt.controls, prompt.answer)


def _spell(tokens: Sequence[int], tokenizer: Tokenizer) -> Iterator[tuple[int, str]]:
    """Yield (tokens so far, text since the last one) wherever a token ends together with a character.

    Ends at a token that nobody sees, such as a control token, and at bytes that are no UTF-8.
    """
    decoder = _utf8_decoder("strict")
    text = ""
    for count, token in enumerate(tokens, 1):
        piece = tokenizer.piece(token)
        try:
            text += decoder.decode(piece)
        except UnicodeDecodeError:
            return
        if not piece:
            return
        if not decoder.getstate()[0]:
            yield count, text
            text = ""


def _places(tokens: Sequence[int], tokenizer: Tokenizer) -> Iterator[Border]:
    offset = 0
    for count, text in _spell(tokens, tokenizer):
        offset += len(text)
        yield Border(offset, count)


def _controls(text: str, tokens: Sequence[int], tokenizer: Tokenizer) -> Iterator[Border]:
    """Yield the borders before the control tokens of a plain encoding, as long as text and tokens agree.

    Some tokenizers drop or add white space beside control tokens, so that counts for nothing here.
    """
    pieces = list(map(tokenizer.piece, tokens))
    offset = after = 0  # behind the last control token
    for count in (index for index, piece in enumerate(pieces) if not piece):
        label = tokenizer.label(tokens[count])
        found = text.find(label, offset)
        between = b"".join(pieces[after:count]).decode("utf-8", "replace")
        if found < 0 or not label or text[offset:found].strip() != between.strip():
            return
        yield Border(found, count)
        offset, after = found + len(label), count + 1
