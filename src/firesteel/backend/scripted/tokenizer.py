"""A byte-complete tokenizer that needs no file: greedy longest match over a fixed vocabulary."""

import re
from collections.abc import Iterable
from functools import cache

from firesteel.backend.scripted import vocabulary
from firesteel.types import FimTokens

CHAT_TEMPLATE = """\
{%- if tools %}<|tools|>{{ tools | tojson }}<|end|>{% endif %}
{%- if tool_choice is defined and tool_choice %}<|tool_choice|>{{ tool_choice }}<|end|>{% endif %}
{%- for message in messages %}<|{{ message.role }}|>{{ message.content or "" }}
{%- for call in message.tool_calls or [] %}
{%- set function = call.function or call %}<tool_call>
{"name": {{ function.name | tojson }}, "arguments": {{ function.arguments if function.arguments is string
   else function.arguments | tojson }}}
</tool_call>{% endfor %}<|end|>{% endfor %}
{%- if add_generation_prompt %}<|assistant|>{% endif %}"""


def _trie_pattern(words: Iterable[bytes]) -> bytes:
    """Return a regex that matches the longest of `words`: a trie, so that no alternative is tried in vain."""
    branches: dict[int, list[bytes]] = {}
    ends = False
    for word in words:
        if word:
            branches.setdefault(word[0], []).append(word[1:])
        else:
            ends = True
    if not branches:
        return b""
    parts = [re.escape(bytes([head])) + _trie_pattern(tails) for head, tails in branches.items()]
    group = b"(?:" + b"|".join(parts) + b")"
    return group + b"?" if ends else group


class ScriptedTokenizer:
    """A `types.Tokenizer` over UTF-8 bytes; about 3.5 characters of Python a token.

    Text outside ASCII becomes byte tokens, so one character is several tokens. Immutable, hence thread-safe.
    """

    def __init__(self) -> None:
        controls = [control.encode() for control in vocabulary.CONTROLS]
        visible = [bytes([byte]) for byte in range(256)] + [piece.encode() for piece in vocabulary.pieces()]
        self._pieces = [b""] * len(controls) + visible
        self.sizes = list(map(len, self._pieces))  # of each token, in bytes
        self._ids = {piece: token for token, piece in enumerate(controls + visible)}
        self._match = re.compile(_trie_pattern(visible))
        self._match_special = re.compile(_trie_pattern(controls + visible))
        self.vocabulary_size = len(self._pieces)
        self.end_tokens = frozenset({vocabulary.END})
        self.fim: FimTokens | None = FimTokens(
            prefix=vocabulary.FIM_PREFIX, suffix=vocabulary.FIM_SUFFIX, middle=vocabulary.FIM_MIDDLE
        )
        self.chat_template: str | None = CHAT_TEMPLATE

    def encode(self, text: str, *, special: bool) -> list[int]:
        """Return the token ids of `text`; with `special`, control tokens written in it are recognised.

        A lone surrogate, which UTF-8 cannot hold, becomes a question mark.
        """
        return self.encode_bytes(text.encode("utf-8", "replace"), special=special)

    def encode_bytes(self, text: bytes, *, special: bool = False) -> list[int]:
        """Return the token ids of UTF-8 `text`. Memoryless: what follows a token encodes the same alone."""
        pattern = self._match_special if special else self._match
        return list(map(self._ids.__getitem__, pattern.findall(text)))

    def first_token(self, text: bytes | bytearray, start: int) -> int:
        """Return the first token of `text[start:]`, which must not be empty."""
        found = self._match.match(text, start)
        assert found is not None, "every byte is a token"
        return self._ids[bytes(found.group())]

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the visible text of `tokens`; bytes that are no UTF-8 become U+FFFD."""
        return b"".join(map(self._pieces.__getitem__, tokens)).decode("utf-8", "replace")

    def prompt_prefix(self) -> list[int]:
        """Return the empty list: this model wants no BOS."""
        return []

    def piece(self, token: int) -> bytes:
        """Return the visible bytes of `token` (empty for control tokens); may be a part of a character."""
        return self._pieces[token]

    def label(self, token: int) -> str:
        """Return the written form of `token`; a byte outside ASCII is written as `<0xE4>`."""
        if token < vocabulary.NUM_CONTROLS:
            return vocabulary.CONTROLS[token]
        piece = self._pieces[token]
        return piece.decode() if piece.isascii() else f"<0x{piece[0]:02X}>"


@cache
def shared_tokenizer() -> ScriptedTokenizer:
    """Return the one tokenizer of this process; building it takes about 10 ms."""
    return ScriptedTokenizer()
