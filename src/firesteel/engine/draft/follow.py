"""Following a text that the output repeats with edits: over insertions, deletions and replacements."""

from bisect import bisect_left
from functools import cached_property
from math import log2

from firesteel.engine.draft.base import Draft, Evidence
from firesteel.engine.draft.edits import Edits
from firesteel.engine.draft.evidence import EDITED, SUBSTITUTED, run_bucket, run_buckets

LONGEST_MATCH = 12  # tokens looked at to tell two places apart
CONFIRMED = 2  # tokens in a row after which a place is believed to be the right one
MAX_SUBSTITUTED = 3  # so many tokens may have been replaced one by one
MAX_REPLAYED = 1_000  # output tokens that are followed again after a rewind
FEW_PLACES = 24  # of a token: more are not compared, only the nearest ones
_RARE = 2.0  # how much a match counts more where the token stands in one or two places only
_LOST = -1.0


class Follower:
    """Proposes the text that follows where the output stands in `text`.

    A place that was lost is looked for among those where the last tokens of the output stand, the longer the
    match and the nearer the better. A replacement that was made once is expected again (`Edits`).
    """

    def __init__(self, source: str, text: list[int], *, begins: bool) -> None:
        """`begins`: the output is expected to begin with the text, rather than to come to it somewhere."""
        self.source = source
        self._text = text
        self._begins = begins
        self._start()

    @cached_property
    def _places(self) -> dict[int, list[int]]:
        """Token → places right after it, ascending. Made when first needed: the first token shall not wait for it."""
        places: dict[int, list[int]] = {}
        for place, token in enumerate(self._text, 1):
            places.setdefault(token, []).append(place)
        return places

    def _start(self) -> None:
        self._at = 0 if self._begins else len(self._text)  # the token of the text that should come next
        self._pending: list[int] = []  # rest of a known replacement that comes before it
        self._run = 0  # tokens in a row that were right
        self._anchor = self._at  # where the place was lost
        self._since: list[int] = []  # output tokens since then; empty while the place is known
        self._is_guess = False  # the place is one of those that replaced tokens would lead to
        self._recent: list[int] = []
        self._edits = Edits()

    def propose(self, max_tokens: int) -> Draft | None:
        """Return what follows in the text; see `Drafter.propose`."""
        text, at = self._text, self._at
        if at >= len(text) and not self._pending:
            return None
        if not self._edits and not self._is_guess:
            tokens = text[at : at + max_tokens]
            return Draft(self.source, tokens, run_buckets(self._run, len(tokens)))
        tokens = self._pending[:max_tokens]
        evidence: list[Evidence] = [EDITED] * len(tokens)
        while len(tokens) < max_tokens and at < len(text):
            edit = self._edits.at(text, at) if self._edits else None
            if edit is not None:
                tokens += edit.new
                evidence += [EDITED] * len(edit.new)
                at += len(edit.old)
            else:
                is_blind = self._is_guess and not tokens
                evidence.append(SUBSTITUTED if is_blind else run_bucket(self._run + len(tokens)))
                tokens.append(text[at])
                at += 1
        return Draft(self.source, tokens[:max_tokens], evidence[:max_tokens]) if tokens else None

    def accept(self, tokens: list[int]) -> None:
        """Follow the output; see `Drafter.accept`."""
        is_plain = not (self._since or self._pending or self._edits)
        if is_plain and self._text[self._at : self._at + len(tokens)] == tokens:
            self._at += len(tokens)  # the same as below, for what is repeated as it is
            self._run += len(tokens)
            self._is_guess = False
            self._recent += tokens[-LONGEST_MATCH:]
        else:
            for token in tokens:
                self._follow(token)
        del self._recent[:-LONGEST_MATCH]

    def rewind(self, output: list[int]) -> None:
        """Follow `output`, of a long one the end; see `Drafter.rewind`. 20 µs a token."""
        self._start()
        self.accept(output[-MAX_REPLAYED:])

    def _follow(self, token: int) -> None:
        text = self._text
        self._recent.append(token)
        if self._since:
            self._since.append(token)
        if self._pending:
            if self._pending[0] == token:
                del self._pending[0]
                return
        elif self._at < len(text) and text[self._at] == token:
            self._at += 1
            self._run += 1
            self._is_guess = False
            if self._since and self._run >= CONFIRMED:
                self._arrive()
            elif self._edits and not self._since:
                self._edits.kept(text, self._at)
            return
        self._lose(token)

    def _arrive(self) -> None:
        """Believe the place: what lies between it and where the last one was lost is an edit."""
        self._edits.learn(self._text[self._anchor : self._at - self._run], self._since[: -self._run])
        self._since = []

    def _lose(self, token: int) -> None:
        if not self._since:
            self._anchor, self._since = self._at, [token]
        self._run, self._pending, self._is_guess = 0, [], False
        if not self._resume():
            self._look()

    def _resume(self) -> bool:
        """Go on in a replacement that is known at the anchor and begins as the output did since."""
        anchor = self._anchor
        edit = self._edits.at(self._text, anchor) if self._edits and anchor < len(self._text) else None
        if edit is None or edit.new[: len(self._since)] != self._since:
            return False
        self._pending, self._at = edit.new[len(self._since) :], anchor + len(edit.old)
        return True

    def _look(self) -> None:
        """Find the likeliest place; none is `len(text)`."""
        self._at = len(self._text)
        best = _LOST
        if len(self._since) <= MAX_SUBSTITUTED and self._anchor + len(self._since) < len(self._text):
            self._at, self._is_guess, best = self._anchor + len(self._since), True, 0.0
        for place in self._candidates():
            match = self._match(place)
            score = self._score(place, match)
            if score > best:
                self._at, self._run, self._is_guess, best = place, match, False, score

    def _candidates(self) -> list[int]:
        places = self._places.get(self._recent[-1], [])
        if len(places) <= FEW_PLACES:
            return places
        near = bisect_left(places, self._anchor)
        return places[max(0, near - FEW_PLACES // 4) : near + FEW_PLACES * 3 // 4]

    def _match(self, place: int) -> int:
        """Return how many of the last output tokens stand before `place`."""
        recent, text, count = self._recent, self._text, 1
        longest = min(LONGEST_MATCH, len(recent), place)
        while count < longest and recent[-1 - count] == text[place - 1 - count]:
            count += 1
        return count

    def _score(self, place: int, match: int) -> float:
        """Return how good a place is: long matches, near ones, forward rather than back, rare tokens."""
        distance = place - self._anchor
        away = distance if distance >= 0 else -4 * distance
        rare = _RARE if len(self._places[self._recent[-1]]) <= 2 else 0.0
        return match + rare - 0.5 * log2(1 + away)
