"""A tokenizer for tests: one token per byte, control tokens after them."""

import re

from firesteel.types import FimTokens

CONTROLS = ("<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|pre|>", "<|suf|>", "<|mid|>", "<|repo|>", "<|file|>")
ID = {label: 256 + i for i, label in enumerate(CONTROLS)}


class ByteTokenizer:
    """A `types.Tokenizer`; with `bos`, every prompt begins with <s>."""

    def __init__(
        self, *, bos: bool = False, fim: bool = True, files: bool = False, chat_template: str | None = None
    ) -> None:
        self.vocabulary_size = 256 + len(CONTROLS)
        self.end_tokens = frozenset({ID["</s>"], ID["<|im_end|>"]})
        markers = [ID[name] for name in ("<|pre|>", "<|suf|>", "<|mid|>", "<|repo|>", "<|file|>")]
        self.fim = FimTokens(*markers[: 5 if files else 3]) if fim else None
        self.chat_template = chat_template
        self._prefix = [ID["<s>"]] if bos else []

    def encode(self, text: str, *, special: bool) -> list[int]:
        parts = re.split(f"({'|'.join(map(re.escape, CONTROLS))})", text) if special else [text]
        return [token for part in parts for token in ([ID[part]] if special and part in ID else part.encode())]

    def prompt_prefix(self) -> list[int]:
        return list(self._prefix)

    def piece(self, token: int) -> bytes:
        return bytes([token]) if token < 256 else b""

    def label(self, token: int) -> str:
        return bytes([token]).decode(errors="replace") if token < 256 else CONTROLS[token - 256]

    def text(self, tokens: list[int]) -> str:
        """Return `tokens` written out, control tokens included."""
        return b"".join(self.piece(token) or self.label(token).encode() for token in tokens).decode()
