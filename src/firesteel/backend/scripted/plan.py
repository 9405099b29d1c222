"""What will be said, and where in it a sequence stands.

A plan is text; the next token is a function of the byte offset reached in it. So a reply that began with
other token boundaries (a forced prefix, text sent back by a client) goes on exactly where its text ends.
"""

from array import array
from bisect import bisect_left
from collections.abc import Callable
from itertools import accumulate
from typing import Protocol

from firesteel.backend.scripted import vocabulary
from firesteel.backend.scripted.kv import SequenceKV, extend_checksum
from firesteel.backend.scripted.script import Pace
from firesteel.backend.scripted.tokenizer import ScriptedTokenizer

# A foreign token before this many bytes of the plan starts it anew, later it takes a planned token's place.
BEGUN_BYTES = 12


class Plan:
    """Text to be said, shared by all sequences that say it.

    With `grow`, text without end: `grow(i)` is its part `i`, made when it is needed. A part must begin with a
    letter and end with a line end, because no piece of the vocabulary crosses such a border.
    """

    def __init__(self, tokenizer: ScriptedTokenizer, text: str, grow: Callable[[int], str] | None = None) -> None:
        self.text = bytearray()
        self.tokens: list[int] = []
        self._starts = array("Q")  # the byte offset of each token
        self._tokenizer = tokenizer
        self._grow = grow
        self._num_parts = 0
        if grow is None:
            self._add(text.encode("utf-8", "replace"))
            self.tokens.append(vocabulary.END)
            self._starts.append(len(self.text))

    def _add(self, part: bytes) -> None:
        """Append `part`; amortised cost about 0.4 µs a token."""
        tokens = self._tokenizer.encode_bytes(part)
        sizes = map(self._tokenizer.sizes.__getitem__, tokens)
        self._starts.extend(list(accumulate(sizes, initial=len(self.text)))[:-1])
        self.tokens += tokens
        self.text += part

    def reserve(self, num_tokens: int) -> None:
        """Make sure that an endless plan holds `num_tokens` tokens. A finite plan stays as it is."""
        while self._grow is not None and len(self.tokens) < num_tokens:
            self._add(self._grow(self._num_parts).encode())
            self._num_parts += 1

    def offset(self, index: int) -> int:
        """Return the byte offset at which token `index` starts; past the end, the length of the text."""
        self.reserve(index + 1)
        return self._starts[index] if index < len(self._starts) else len(self.text)

    def index(self, offset: int) -> int:
        """Return the index of the first token that starts at byte `offset` or after it."""
        while self._grow is not None and len(self.text) <= offset:
            self.reserve(len(self.tokens) + 1)
        return bisect_left(self._starts, offset)

    def token_at(self, offset: int) -> int:
        """Return the token to say at byte `offset`: the longest piece there, or the end token."""
        index = self.index(offset)
        if self._starts[index] == offset:
            return self.tokens[index]
        return self._tokenizer.first_token(self.text, offset)

    def continues(self, offset: int, piece: bytes) -> bool:
        """Return whether `piece`, not empty, is what stands at byte `offset`."""
        self.index(offset + len(piece))
        return bool(piece) and self.text.startswith(piece, offset)


class Cursor(Protocol):
    """Where one sequence stands in its reply."""

    pace: Pace

    def follow(self, kv: SequenceKV) -> int:
        """Take in the tokens that `kv` gained; return the index in the reply of the token that comes next."""
        ...

    def peek(self, kv: SequenceKV, count: int) -> list[int]:
        """Return the next tokens: at least one, at most `count`, none after an end token."""
        ...

    def trim(self, to: int) -> bool:
        """Go back to `to` tokens; return False if this cursor cannot, and a new one must be made."""
        ...


class PlanCursor:
    """Follows a plan. A step along it costs O(1); tokens that leave it are compared as bytes."""

    __slots__ = (
        "_exact_from",
        "_folded",
        "_index",
        "_offset",
        "_raw",
        "_tokenizer",
        "_tokens",
        "pace",
        "plan",
    )

    def __init__(
        self, plan: Plan, pace: Pace, tokenizer: ScriptedTokenizer, start: int, exact_from: int, *, raw: bool
    ) -> None:
        self.plan = plan
        self._tokens = plan.tokens
        self.pace = pace
        self._tokenizer = tokenizer
        self._folded = start  # tokens of the history that were taken in, or do not matter
        self._exact_from = exact_from  # from here on every token was the planned one: trimming is subtracting
        self._index = 0  # of the next token; -1 between two token boundaries of the plan
        self._offset = 0  # in bytes, where the index is -1
        self._raw = raw

    def follow(self, kv: SequenceKV) -> int:
        """Take in the tokens that `kv` gained; return the index in the reply of the token that comes next."""
        history, index, folded = kv.tokens, self._index, self._folded
        count = len(history) - folded
        planned = self._tokens
        if count == 1 and 0 <= index < len(planned) and planned[index] == history[folded]:
            self._folded = folded + 1
            self._index = index + 1
            return index + 1
        if count:
            new = history[folded:].tolist()
            self._folded = len(history)
            if index >= 0 and planned[index : index + count] == new:
                self._index = index + count
            else:
                self._take_all(new)
                self._exact_from = self._folded
        return self._index if self._index >= 0 else self.plan.index(self._offset)

    def _take_all(self, tokens: list[int]) -> None:
        """Take in tokens of which not all are the planned ones."""
        position = 0
        while position < len(tokens):
            if self._raw and self._index == 0:
                self.plan.reserve(1)
                try:  # a raw prompt is all foreign text: skip it at the speed of C
                    position = tokens.index(self.plan.tokens[0], position)
                except ValueError:
                    return
            self._take(tokens[position])
            position += 1

    def _take(self, token: int) -> None:
        """Take in one token: planned text goes on; foreign text restarts the plan or replaces a token."""
        plan, index = self.plan, self._index
        if index >= 0 and plan.tokens[index : index + 1] == [token]:
            self._index = index + 1  # as `follow` does: the end token has no bytes to be known by
            return
        offset = plan.offset(index) if index >= 0 else self._offset
        piece = self._tokenizer.piece(token)
        if plan.continues(offset, piece):
            offset += len(piece)
        elif offset >= BEGUN_BYTES:
            offset += len(self._tokenizer.piece(plan.token_at(offset)))
        else:
            offset = len(piece) if plan.continues(0, piece) else 0
        index = plan.index(offset)
        self._index = index if plan.offset(index) == offset else -1
        self._offset = offset

    def peek(self, kv: SequenceKV, count: int) -> list[int]:
        """Return the next tokens: at least one, at most `count`, none after an end token."""
        index = self._index
        if index < 0:
            return [self.plan.token_at(self._offset)]
        planned = self._tokens[index : index + count]
        if len(planned) < count:
            self.plan.reserve(index + count)
            planned = self._tokens[index : index + count]
        return planned or self._tokens[-1:]

    def trim(self, to: int) -> bool:
        """Go back to `to` tokens; return False if this cursor cannot, and a new one must be made."""
        if to < self._folded:
            if to < self._exact_from or self._index < 0:
                return False
            self._index -= self._folded - to
            self._folded = to
        return True


class HashCursor:
    """Says a hash of the whole history: a single wrong token in the KV changes everything after it."""

    __slots__ = ("_exact_from", "_num_visible", "_start", "pace")

    def __init__(self, pace: Pace, tokenizer: ScriptedTokenizer, start: int, exact_from: int) -> None:
        self.pace = pace
        self._start = start
        self._exact_from = exact_from
        self._num_visible = tokenizer.vocabulary_size - vocabulary.NUM_CONTROLS

    def follow(self, kv: SequenceKV) -> int:
        """Return the number of tokens after the prompt's end; for a raw prompt, all tokens."""
        return len(kv.tokens) - self._start

    def peek(self, kv: SequenceKV, count: int) -> list[int]:
        """Return the next `count` tokens; none is a control token, so the reply never ends by itself."""
        checksum = kv.checksum()
        tokens = []
        for _ in range(count):
            token = vocabulary.NUM_CONTROLS + checksum % self._num_visible
            tokens.append(token)
            checksum = extend_checksum(checksum, array("H", (token,)))
        return tokens

    def trim(self, to: int) -> bool:
        """Return whether the rule that chose this cursor still stands in the history."""
        return to >= self._exact_from


def num_common(planned: list[int], draft: list[int]) -> int:
    """Return how many tokens both begin with."""
    pairs = enumerate(zip(planned, draft, strict=False))
    return next((i for i, (one, other) in pairs if one != other), min(len(planned), len(draft)))
