"""A tokenizer with merges, so that the tokens of a text depend on what stands around each of its characters."""

import re
from collections.abc import Iterable

from firesteel.types import FimTokens, Tokenizer

CONTROLS = ("<s>", "<|user|>", "<|assistant|>", "<|end|>", "<unk>")
UNKNOWN = "ß"  # which the tokenizer cannot spell
MERGES = (
    b"ab",
    b"abc",
    b"bc",
    b"bca",
    b"\n\n",
    b" a",
    b" ab",
    b"\xf0\x9f",
    b"\x9f\xa6\x8a",
    b"a\xf0",
    b"<|",
    b"end",
    b"|>",
)
FIRST_CONTROL = 256 + len(MERGES)


class ToyTokenizer:
    """A `types.Tokenizer`: bytes, greedy merges, control tokens; `space` is put before text as SentencePiece does."""

    def __init__(self, *, bos: bool = False, space: bool = False) -> None:
        self.vocabulary_size = FIRST_CONTROL + len(CONTROLS)
        self.end_tokens = frozenset({FIRST_CONTROL + CONTROLS.index("<|end|>")})
        self.fim: FimTokens | None = None
        self.chat_template: str | None = None
        self.num_encoded = 0  # code points that `encode` was given
        self._prefix = [FIRST_CONTROL] if bos else []
        self._space = space
        self._pieces = [bytes([byte]) for byte in range(256)] + list(MERGES)
        longest_first = sorted(self._pieces, key=len, reverse=True)
        self._match = re.compile(b"|".join(map(re.escape, longest_first)), re.DOTALL)

    def encode(self, text: str, *, special: bool) -> list[int]:
        self.num_encoded += len(text)
        parts = re.split(f"({'|'.join(map(re.escape, CONTROLS))})", text) if special else [text]
        return [token for part in parts if part for token in self._encode_part(part, special)]

    def _encode_part(self, part: str, special: bool) -> list[int]:
        if special and part in CONTROLS:
            return [FIRST_CONTROL + CONTROLS.index(part)]
        known, found, rest = part.partition(UNKNOWN)
        if found:
            unknown = FIRST_CONTROL + CONTROLS.index("<unk>")
            return [*self._encode_part(known, False), unknown, *self._encode_part(rest, False)]
        data = part.encode() if not self._space else b" " + part.encode()
        return [self._pieces.index(found) for found in self._match.findall(data)]

    def prompt_prefix(self) -> list[int]:
        return list(self._prefix)

    def piece(self, token: int) -> bytes:
        return self._pieces[token] if token < FIRST_CONTROL else b""

    def label(self, token: int) -> str:
        if token < FIRST_CONTROL:
            return self._pieces[token].decode(errors="replace")
        return CONTROLS[token - FIRST_CONTROL]


def written(tokens: Iterable[int], tokenizer: Tokenizer) -> str:
    """Return `tokens` written out, control tokens included."""
    return b"".join(tokenizer.piece(token) or tokenizer.label(token).encode() for token in tokens).decode()
