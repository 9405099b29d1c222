"""The model's own tokenizer, read from its file without the weights."""

import ctypes
import os
from types import ModuleType

from firesteel.backend.llamacpp import library
from firesteel.types import FimTokens

_PIECE_BYTES = 256  # longer than any piece that we know; libllama says how much it needs when it is not enough


class LlamaTokenizer:
    """`types.Tokenizer` over a `llama_vocab`; opens `path` vocabulary-only unless given a loaded model."""

    def __init__(self, path: str, model: ctypes.c_void_p | None = None) -> None:
        self._llama: ModuleType = library.load()
        self._owned = library.load_model(path, vocab_only=True) if model is None else None
        self._model = model or self._owned
        self._vocab = self._llama.llama_model_get_vocab(self._model)
        self._pieces: dict[int, bytes] = {}
        self.vocabulary_size = int(self._llama.llama_vocab_n_tokens(self._vocab))
        self.end_tokens = self._find_end_tokens()
        self.fim = self._find_fim()
        self.chat_template = self._find_chat_template()

    def _find_end_tokens(self) -> frozenset[int]:
        is_end = self._llama.llama_vocab_is_eog
        return frozenset(token for token in range(self.vocabulary_size) if is_end(self._vocab, token))

    def _find_fim(self) -> FimTokens | None:
        llama = self._llama
        names = (llama.llama_vocab_fim_pre, llama.llama_vocab_fim_suf, llama.llama_vocab_fim_mid)
        prefix, suffix, middle = (int(name(self._vocab)) for name in names)
        if min(prefix, suffix, middle) < 0:
            return None
        repository, file = (int(name(self._vocab)) for name in (llama.llama_vocab_fim_rep, llama.llama_vocab_fim_sep))
        return FimTokens(prefix, suffix, middle, repository if repository >= 0 else None, file if file >= 0 else None)

    def _find_chat_template(self) -> str | None:
        template = self._llama.llama_model_chat_template(self._model, None)
        return template.decode() if template else None

    def encode(self, text: str, *, special: bool) -> list[int]:
        """Return the token ids of `text`; the interpreter lock is free meanwhile."""
        data = text.encode("utf-8", "surrogatepass")
        capacity = len(data) + 16
        buffer = (ctypes.c_int32 * capacity)()
        count = self._llama.llama_tokenize(self._vocab, data, len(data), buffer, capacity, False, special)
        assert count >= 0, "a token is at least one byte"
        return buffer[:count]

    def prompt_prefix(self) -> list[int]:
        """Return BOS where the model wants one."""
        wants = self._llama.llama_vocab_get_add_bos(self._vocab)
        bos = int(self._llama.llama_vocab_bos(self._vocab))
        return [bos] if wants and bos >= 0 else []

    def piece(self, token: int) -> bytes:
        """Return the visible bytes of `token`; empty for control tokens."""
        piece = self._pieces.get(token)
        if piece is None:
            piece = self._pieces[token] = self._render(token, special=False)
        return piece

    def label(self, token: int) -> str:
        """Return the written form of `token`, control tokens included."""
        return self._render(token, special=True).decode(errors="replace")

    def _render(self, token: int, *, special: bool) -> bytes:
        size = _PIECE_BYTES
        while True:
            buffer = ctypes.create_string_buffer(size)
            count = self._llama.llama_token_to_piece(self._vocab, token, buffer, size, 0, special)
            if count >= 0:
                return buffer.raw[:count]
            size = -count

    def close(self) -> None:
        """Free the vocabulary if this tokenizer opened it."""
        if self._owned is not None:
            self._llama.llama_model_free(self._owned)
            self._owned = None


def num_physical_cores() -> int:
    """Return the physical cores this process may use: hyperthreads only slow a bandwidth-bound loop."""
    cores = set()
    for cpu in os.sched_getaffinity(0):
        try:
            with open(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list") as siblings:
                cores.add(siblings.read().strip())
        except OSError:
            cores.add(str(cpu))
    return max(1, len(cores))
