"""Prompt lookup: what followed when the last tokens stood in the prompt or the output before (Saxena 2023)."""

from firesteel.engine.draft.base import Draft, Evidence
from firesteel.engine.draft.evidence import run_bucket
from firesteel.engine.draft.index import SuffixIndex

LENGTH = 2


class NgramDrafter:
    """Proposes what followed the longest match, the latest one of equals."""

    source = "ngram"

    def __init__(self, prompt: list[int]) -> None:
        self._prompt = prompt
        self._index: SuffixIndex | None = None  # made when first asked: the first token shall not wait for it
        self._output: list[int] = []

    def propose(self, max_tokens: int) -> Draft | None:
        """Return what followed; see `Drafter.propose`."""
        if self._index is None:
            self._index = SuffixIndex(LENGTH)
            self._index.extend(self._prompt + self._output)
        known = self._index.tokens
        found = self._index.find(known[-64:])
        if not found:
            return None
        place, match = max(found, key=lambda one: (one[1], one[0]))
        tokens = known[place : place + max_tokens]
        period = len(known) - place
        while len(tokens) < max_tokens:  # what repeats goes on repeating
            tokens.append(tokens[len(tokens) - period])
        evidence: list[Evidence] = [run_bucket(match + ahead) for ahead in range(len(tokens))]
        return Draft(self.source, tokens, evidence)

    def accept(self, tokens: list[int]) -> None:
        """Take in output; see `Drafter.accept`."""
        self._output += tokens
        if self._index is not None:
            self._index.extend(tokens)

    def rewind(self, output: list[int]) -> None:
        """Go back to `output`; see `Drafter.rewind`."""
        self._output = list(output)
        if self._index is not None:
            self._index.truncate(len(self._prompt))
            self._index.extend(output)
