"""Constrained output: which tokens a grammar allows next, and which it leaves no choice about (llguidance).

Everything here belongs to the engine's thread: the constraints of one `Grammars` share their buffers.
"""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from firesteel.backend.base import Logits
from firesteel.errors import EngineFailure
from firesteel.types import Tokenizer

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

MAX_GRAMMARS = 32  # compiled and kept; a copy takes 10 µs, compiling 1 ms and, for a large schema, 20 ms and more
FEW_WORDS = 256  # up to so many of the mask's words with a token in them, their tokens are handled one by one
MAX_STEP_ITEMS = 2_000  # of the parser a token: some 50 ms at worst; ambiguous grammars take seconds at the default
_CONTROL = b"\xff"  # llguidance's mark of a token that no text can match


class _Vocabulary:
    """A `Tokenizer` in the form in which llguidance wants it."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.eos_token_id = min(tokenizer.end_tokens)
        self.bos_token_id = None
        self.tokens = [self._bytes(token) for token in range(tokenizer.vocabulary_size)]

    def _bytes(self, token: int) -> bytes:
        piece = b"" if token in self._tokenizer.end_tokens else self._tokenizer.piece(token)
        return piece or _CONTROL + self._tokenizer.label(token).encode()

    def __call__(self, text: str) -> list[int]:
        if not isinstance(text, str):
            raise TypeError("text, not bytes")  # llguidance tries both
        return self._tokenizer.encode(text, special=False)


class Grammars:
    """Compiles grammars for one tokenizer, and keeps those that were used last."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.end_tokens = tokenizer.end_tokens
        self.mask = Mask(tokenizer.vocabulary_size)
        self._tokenizer = tokenizer
        self._prepared: LLTokenizer | None = None
        self._compiled: dict[str, LLMatcher] = {}  # the one used last stands last

    def prepare(self) -> "LLTokenizer":
        """Build the tables for this vocabulary, once: 1.5 s for 152k tokens, mostly under the interpreter lock."""
        if self._prepared is None:
            from llguidance import LLTokenizer, TokenizerWrapper

            self._prepared = LLTokenizer(
                TokenizerWrapper(_Vocabulary(self._tokenizer)),
                n_vocab=self._tokenizer.vocabulary_size,
                eos_token=sorted(self.end_tokens),
            )
        return self._prepared

    def constraint(self, grammar: str) -> "Constraint":
        """Return the beginning of an answer that follows `grammar`, which is in llguidance's JSON form.

        Raises EngineFailure, with the code `invalid_value`, when it does not compile.
        """
        return Constraint(self, grammar)

    def matcher(self, grammar: str) -> "LLMatcher":
        """Return a matcher at the beginning of `grammar`. Raises EngineFailure when it does not compile."""
        compiled = self._compiled.pop(grammar, None) or self._compile(grammar)
        self._compiled[grammar] = compiled
        if len(self._compiled) > MAX_GRAMMARS:
            del self._compiled[next(iter(self._compiled))]
        return compiled.deep_copy()

    def _compile(self, grammar: str) -> "LLMatcher":
        from llguidance import LLMatcher, LLParserLimits

        matcher = LLMatcher(
            self.prepare(),
            grammar,
            log_level=0,
            limits=LLParserLimits(step_max_items=MAX_STEP_ITEMS, verbose_errors=False),
        )
        if matcher.is_error():
            raise _failure(f"the grammar does not compile: {_reason(matcher)}; send another one")
        return matcher


class Mask:
    """One bit a token, and the fast way to bring it upon logits: 50 to 110 µs for 152k tokens, at any density."""

    def __init__(self, vocabulary_size: int) -> None:
        self.words = np.zeros((vocabulary_size + 31) // 32, np.uint32)
        self._bytes = self.words.view(np.uint8)
        self._limits = np.empty((len(self._bytes), 8), np.float32)
        self._limits_by_token = self._limits.reshape(-1)[:vocabulary_size]
        bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
        self._limits_by_byte = np.where(bits, np.float32(np.inf), np.float32(-np.inf))

    def apply(self, logits: Logits) -> None:
        """Set the logits of tokens whose bit is 0 to minus infinity."""
        words = self.words.nonzero()[0]
        if len(words) > FEW_WORDS:  # a boolean index would take a millisecond where bits alternate
            np.take(self._limits_by_byte, self._bytes, axis=0, out=self._limits, mode="clip")
            np.minimum(logits, self._limits_by_token, out=logits)
            return
        tokens = self._tokens_in(words)
        kept = logits[tokens]
        logits.fill(-np.inf)
        logits[tokens] = kept

    def _tokens_in(self, words: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        bits = np.unpackbits(self.words[words].view(np.uint8), bitorder="little").nonzero()[0]
        tokens: npt.NDArray[np.intp] = words[bits >> 5] * 32 + (bits & 31)
        return tokens


class Constraint:
    """How far one answer has come in its grammar. An end token may come where the grammar is satisfied."""

    def __init__(self, grammars: Grammars, grammar: str) -> None:
        self._grammars = grammars
        self._grammar = grammar
        self._matcher = grammars.matcher(grammar)
        self._tokens: list[int] = []  # consumed, an end token excepted
        self._ended = False  # an end token was consumed

    def allows(self, token: int) -> bool:
        """Return whether `token` may come next: 2 µs, without a mask.

        Where text is forced, any of the ways to write it is allowed; `apply` then leaves the usual one only.
        """
        return self.num_valid([token]) == 1

    def num_valid(self, tokens: list[int]) -> int:
        """Return how many of `tokens`, from the first on, may come next, up to the first end token."""
        if self._ended or not tokens:
            return 0
        if self._is_stopped():
            return int(tokens[0] in self._grammars.end_tokens)
        return self._matcher.validate_tokens(tokens)

    def apply(self, logits: Logits) -> None:
        """Set the logits [vocabulary_size] of what may not come next to minus infinity.

        Raises EngineFailure when the grammar is too complex to go on with, or leads nowhere.
        """
        if self._ended:
            logits.fill(-np.inf)
            return
        mask = self._grammars.mask
        self._matcher.unsafe_compute_mask_ptr(mask.words.ctypes.data, mask.words.nbytes)
        self._is_stopped()
        if not mask.words.any():
            raise _failure("the grammar leads to a place where nothing may follow; send another one")
        mask.apply(logits)

    def consume(self, token: int) -> None:
        """Go on by `token`, which may be an end token. Raises EngineFailure, unchanged, when it may not come."""
        if self._ended or not self._takes(token):
            raise _failure(f"the grammar does not allow token {token} here")

    def _takes(self, token: int) -> bool:
        if token in self._grammars.end_tokens:
            self._ended = self.allows(token)
            return self._ended
        if self._matcher.try_consume_tokens([token]) != 1:
            return False
        self._tokens.append(token)
        return True

    def rollback(self, num_tokens: int) -> None:
        """Take back the last `num_tokens` that were consumed, an end token among them."""
        assert 0 <= num_tokens <= len(self._tokens) + self._ended
        if num_tokens and self._ended:
            self._ended = False
            num_tokens -= 1
        if not num_tokens:
            return
        del self._tokens[-num_tokens:]
        if not self._matcher.rollback(num_tokens):  # some grammars cannot, such as those with `max_tokens`
            self._matcher = self._grammars.matcher(self._grammar)
            self._matcher.consume_tokens(self._tokens)

    def forced(self) -> list[int]:
        """Return the tokens that must come next, as the tokenizer would write them; none is consumed."""
        if self.is_complete:
            return []
        tokens = self._matcher.compute_ff_tokens()
        end = next((i for i, token in enumerate(tokens) if token in self._grammars.end_tokens), None)
        return tokens[:end]

    @property
    def is_complete(self) -> bool:
        """Whether only an end token may follow, or nothing any more."""
        return self._ended or self._is_stopped()

    def _is_stopped(self) -> bool:
        if not self._matcher.is_stopped():
            return False
        if self._matcher.is_error():
            raise _failure(f"the grammar is too complex: {_reason(self._matcher)}; send a simpler one")
        return True


def _reason(matcher: "LLMatcher") -> str:
    return matcher.get_error().strip().partition("\n")[0]


def _failure(message: str) -> EngineFailure:
    failure = EngineFailure(message)
    failure.code = "invalid_value"
    return failure
