"""Suffix decoding over past outputs (Oliaro et al. 2024): the continuation that most of the matches agree on."""

from collections import Counter

from firesteel.engine.draft.base import Draft, Evidence
from firesteel.engine.draft.evidence import run_bucket, share_bucket
from firesteel.engine.draft.index import SuffixIndex

MAX_TOKENS = 50_000  # of a corpus: 9 MB
CLEAR_MATCH = 8  # a match so long is as good as a longer one
SEPARATOR = -1  # stands between two outputs; never proposed


class Corpus:
    """The past outputs of one scope, the latest `MAX_TOKENS` tokens or at least half of them.

    Two generations: when the young one is full it becomes the old one, and the old one is dropped at once.
    """

    def __init__(self, max_tokens: int = MAX_TOKENS) -> None:
        self._max_young = max_tokens // 2
        self._old, self._young = SuffixIndex(), SuffixIndex()

    @property
    def num_tokens(self) -> int:
        """Tokens held, separators included."""
        return len(self._old.tokens) + len(self._young.tokens)

    def add(self, output: list[int]) -> None:
        """Take in an output that has ended; only the last tokens of one that is longer than a generation."""
        kept = output[-(self._max_young - 1) :]
        if len(self._young.tokens) + len(kept) >= self._max_young:
            self._old, self._young = self._young, SuffixIndex()
        self._young.extend([*kept, SEPARATOR])

    def continuations(self, context: list[int], max_tokens: int) -> tuple[int, list[list[int]]]:
        """Return the length of the longest match of the end of `context`, and what followed those about as long."""
        found = [
            (match, index.tokens[place : place + max_tokens])
            for index in (self._young, self._old)
            for place, match in index.find(context)
        ]
        longest = max((match for match, _ in found), default=0)
        return longest, [tokens for match, tokens in found if match >= min(longest, CLEAR_MATCH)]


class SuffixDrafter:
    """Proposes, token by token, what most of the matching past outputs went on with."""

    source = "suffix"

    def __init__(self, corpus: Corpus, prompt: list[int]) -> None:
        self._corpus = corpus
        self._begin = prompt[-64:]
        self._recent = list(self._begin)

    def propose(self, max_tokens: int) -> Draft | None:
        """Return the favoured continuation; see `Drafter.propose`."""
        match, rivals = self._corpus.continuations(self._recent, max_tokens)
        tokens: list[int] = []
        evidence: list[Evidence] = []
        while rivals and len(tokens) < max_tokens:
            ahead = len(tokens)
            votes = Counter([rival[ahead] for rival in rivals if len(rival) > ahead])
            token, count = max(votes.items(), key=lambda vote: vote[1], default=(SEPARATOR, 0))
            if token == SEPARATOR:
                break
            tokens.append(token)
            evidence.append((run_bucket(match + ahead), share_bucket(count, votes.total())))
            rivals = [rival for rival in rivals if len(rival) > ahead and rival[ahead] == token]
        return Draft(self.source, tokens, evidence) if tokens else None

    def accept(self, tokens: list[int]) -> None:
        """Take in output; see `Drafter.accept`."""
        self._recent = (self._recent + tokens)[-64:]

    def rewind(self, output: list[int]) -> None:
        """Go back to `output`; see `Drafter.rewind`."""
        self._recent = (self._begin + output)[-64:]
