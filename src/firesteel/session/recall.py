"""Nothing is tokenised twice, and what the model wrote keeps the token ids that the model chose.

Clients send a conversation back as text. Encoding that text anew costs time, and may give other tokens than
those the model wrote, after which the KV of all that follows is of no use. So the encodings of what was
computed are kept, and a prompt that begins like one of them is encoded only from where they part. A cut is
made only before a control token, where tokenizers split in any case (docs/decisions/0017-token-recall.md).
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import count

import msgspec

from firesteel.session.encoding import START, Border, Encoding, decode, encode, join, with_answer
from firesteel.types import FimTokens, Tokenizer

MAX_ENTRIES = 256
MAX_BYTES = 64 * 1024 * 1024


class Entry(msgspec.Struct, frozen=True):
    """An encoding that is kept. No other `scope` ever meets it; its own `session` prefers it."""

    number: int
    scope: str
    session: str | None
    encoding: Encoding


class TokenRecall:
    """The encodings of what was computed, the least recently used ones leaving first. Thread-safe."""

    def __init__(self, tokenizer: Tokenizer, *, max_entries: int = MAX_ENTRIES, max_bytes: int = MAX_BYTES) -> None:
        self.plain = tokenizer
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._entries: OrderedDict[int, Entry] = OrderedDict()  # the most recently used one last
        self._num_bytes = 0
        self._numbers = count()
        self._lock = threading.Lock()
        self._labels: tuple[str, ...] = tuple(sorted(map(tokenizer.label, tokenizer.end_tokens)))

    def tokenizer(self, scope: str = "", session: str | None = None) -> "RecallingTokenizer":
        """Return a tokenizer for one prompt of `session`, of which `remember` keeps the answer."""
        return RecallingTokenizer(self, scope, session)

    def encode(self, text: str, scope: str, session: str | None) -> tuple[Encoding, Entry | None]:
        """Return the encoding of `text`, and the entry whose tokens it begins with, if there is one."""
        entry, border = self._find(text, self._candidates(scope, session))
        if entry is not None:
            rest = encode(text[border.offset :], self.plain)
            if not rest.text or (rest.controls and rest.controls[0] == START):
                self._use(entry, rest)
                return join(entry.encoding, border, rest), entry
        encoding = encode(text, self.plain)
        self._learn_labels(encoding)
        return encoding, None

    def keep(self, encoding: Encoding, scope: str, session: str | None, source: Entry | None) -> None:
        """Remember `encoding`, instead of `source` if it says all that `source` does."""
        if encoding.num_bytes > self._max_bytes:
            return
        with self._lock:
            if source is not None and encoding.begins_with(source.encoding):
                self._drop(source)
            entry = Entry(next(self._numbers), scope, session, encoding)
            self._entries[entry.number] = entry
            self._num_bytes += encoding.num_bytes
            while self._num_bytes > self._max_bytes or len(self._entries) > self._max_entries:
                self._drop(next(iter(self._entries.values())))

    def restore(self, tokens: Sequence[int], scope: str) -> None:
        """Remember a history of an earlier process by its tokens."""
        encoding = decode(tokens, self.plain)
        self._learn_labels(encoding)
        self.keep(encoding, scope, None, None)

    def _drop(self, entry: Entry) -> None:
        if self._entries.pop(entry.number, None) is not None:
            self._num_bytes -= entry.encoding.num_bytes

    def _candidates(self, scope: str, session: str | None) -> list[Entry]:
        """Return the entries of `scope`, those of `session` first, newer ones before older ones."""
        with self._lock:
            entries = list(self._entries.values())
        entries = [entry for entry in reversed(entries) if entry.scope == scope]
        return sorted(entries, key=lambda entry: session is None or entry.session != session)

    def _find(self, text: str, candidates: Iterable[Entry]) -> tuple[Entry | None, Border]:
        """Return the entry that begins like `text` for longest, and the last border at which they can part."""
        best, best_border = None, START
        for entry in candidates:
            known = entry.encoding
            if not known.text.startswith(text[: best_border.offset + 1]):
                continue
            length = common_length(known.text, text)
            borders = known.borders(length, self.plain)
            border = next((border for border in borders if self._splits(text, border.offset)), START)
            if border.offset > best_border.offset:
                best, best_border = entry, border
        return best, best_border

    def _splits(self, text: str, offset: int) -> bool:
        return offset == len(text) or text.startswith(self._labels, offset)

    def _use(self, entry: Entry, rest: Encoding) -> None:
        self._learn_labels(rest)
        with self._lock:
            if entry.number in self._entries:
                self._entries.move_to_end(entry.number)

    def _learn_labels(self, encoding: Encoding) -> None:
        """Add the control tokens in `encoding`: asking a vocabulary for all of its own would take 100 ms."""
        labels = {self.plain.label(encoding.tokens[border.count]) for border in encoding.controls}
        if not labels.issubset(self._labels):
            with self._lock:
                self._labels = tuple(sorted(labels.union(self._labels)))


class RecallingTokenizer:
    """A `types.Tokenizer` for one prompt, that encodes only what was never encoded or written by the model."""

    vocabulary_size: int
    end_tokens: frozenset[int]
    fim: FimTokens | None
    chat_template: str | None

    def __init__(self, recall: TokenRecall, scope: str, session: str | None) -> None:
        plain = recall.plain
        self.vocabulary_size, self.end_tokens = plain.vocabulary_size, plain.end_tokens
        self.fim, self.chat_template = plain.fim, plain.chat_template
        self.prompt_prefix, self.piece, self.label = plain.prompt_prefix, plain.piece, plain.label
        self._recall = recall
        self._scope = scope
        self._session = session
        self._prompt: Encoding | None = None
        self._source: Entry | None = None

    def encode(self, text: str, *, special: bool) -> list[int]:
        """Return the token ids of `text`; with `special`, control tokens written in it are recognised.

        With `special`, `text` is the prompt, and what it has in common with what is remembered keeps its ids.
        """
        if not special:
            return self._recall.plain.encode(text, special=False)
        self._prompt, self._source = self._recall.encode(text, self._scope, self._session)
        return self._prompt.tokens.tolist()

    def remember(self, tokens: Sequence[int]) -> None:
        """Keep the prompt that was encoded last, and `tokens`, the answer to it.

        A prompt without control tokens is not kept: no other one could be cut from it.
        """
        if self._prompt is not None and self._prompt.controls:
            encoding = with_answer(self._prompt, tokens, self._recall.plain)
            self._recall.keep(encoding, self._scope, self._session, self._source)


def common_length(first: str, second: str) -> int:
    """Return how many code points two texts begin with in common, by bisection: 50 kB take a few microseconds."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
