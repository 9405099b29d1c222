"""Verify and accept: which tokens a step yields, given what it computed and what was drafted for it."""

from firesteel.backend.base import Logits, Output, Want
from firesteel.engine.constrain import Constraint
from firesteel.engine.draft.base import Draft, num_common
from firesteel.engine.sample import Sampler, logprob_of
from firesteel.errors import EngineFailure
from firesteel.types import Sampling, TokenLogprob

NO_BAN: frozenset[int] = frozenset()


class Verifier:
    """Chooses the output tokens of one sequence; a draft is accepted as far as it is what would be chosen.

    Greedy, and by sampling with drafts that were not drawn at random: each token is chosen as if there were no
    draft, from the same random number, and compared. So drafts change nothing but the number of steps.
    """

    def __init__(self, sampling: Sampling, end_tokens: frozenset[int], constraint: Constraint | None = None) -> None:
        self.sampler = Sampler(sampling)
        self.constraint = constraint
        self._end_tokens = end_tokens
        self._base_want = Want.LOGITS if constraint is not None else self.sampler.want
        self._bans: dict[int, frozenset[int]] = {}  # position → what must not stand there
        self._num_top = sampling.num_logprobs
        self.logprobs: list[TokenLogprob] = []  # of the tokens chosen last, an end token excepted

    def want(self, position: int) -> Want:
        """Return what must be computed to choose the token at `position`."""
        return Want.LOGITS if position in self._bans else self._base_want

    def window(self, position: int) -> float | None:
        """Return `Rows.window` for the token at `position`: None where logits far below the best may matter."""
        if self.constraint is not None or position in self._bans:
            return None
        return self.sampler.window

    def is_plain_sampling(self, position: int, draft: Draft | None) -> bool:
        """Return whether sampling alone decides the token at `position`, and what it says does not change `draft`."""
        is_random = draft is not None and bool(draft.distributions)
        return self.window(position) is not None and self.sampler.sampling.temperature > 0 and not is_random

    def allowed(self, draft: Draft) -> Draft:
        """Return the part of `draft` that the grammar allows."""
        if self.constraint is None:
            return draft
        try:
            count = self.constraint.num_valid(draft.tokens)
        except EngineFailure:  # the next token will say so, too
            count = 0
        return Draft(draft.source, draft.tokens[:count], draft.evidence[:count], draft.distributions[:count])

    def verify(self, output: Output, position: int, draft: Draft | None) -> list[int]:
        """Return what stands from `position` on: the part of `draft` that is right, and one token more.

        Ends at an end token. Raises EngineFailure when the logits are not numbers.
        """
        guesses = draft.tokens if draft is not None else []
        if output.tokens:
            tokens = output.tokens[: 1 + num_common(guesses, output.tokens)] if guesses else output.tokens
            end = next((at for at, token in enumerate(tokens, 1) if token in self._end_tokens), None)
            return tokens[:end]
        self.logprobs, tokens = [], []
        for ahead, logits in enumerate(output.logits):
            token = self._choose(logits, position + ahead, draft, ahead)
            tokens.append(token)
            if token in self._end_tokens or guesses[ahead : ahead + 1] != [token] or self._is_forced():
                break
        return tokens

    def _is_forced(self) -> bool:
        """Return whether the grammar forces what comes next, in tokens of its own; `Sequence.jump` inserts them."""
        return self.constraint is not None and self._num_top is None and bool(self.constraint.forced())

    def _choose(self, logits: Logits, position: int, draft: Draft | None, ahead: int) -> int:
        raw = logits.copy() if self._num_top is not None and self.constraint is not None else logits
        ban = self._bans.get(position, NO_BAN) if self._bans else NO_BAN
        if draft is not None and ahead < len(draft.distributions):
            drafted = draft.tokens[ahead], draft.distributions[ahead]
            token = self.sampler.judge(logits, position, drafted, ban, self.constraint)
        else:
            token = self.sampler.choose(logits, position, ban, self.constraint)
        if self.constraint is not None:
            self.constraint.consume(token)
        if self._num_top is not None and token not in self._end_tokens:
            self.logprobs.append(logprob_of(token, raw, self._num_top))
        return token

    def rewind(self, output: list[int], num_dropped: int) -> None:
        """Go back to where only `output` had been chosen; `num_dropped` tokens followed it."""
        self.sampler.rewind(output)
        if self.constraint is not None and num_dropped:
            self.constraint.rollback(num_dropped)

    def insert(self, tokens: list[int]) -> None:
        """Take `tokens` as if they had been chosen. Raises EngineFailure when the grammar forbids one."""
        self.sampler.remember(tokens)
        if self.constraint is not None:
            for token in tokens:
                self.constraint.consume(token)

    def forbid(self, position: int, ban: tuple[int, ...]) -> None:
        """Ban tokens at `position`, beside those banned there before; bans of later positions go."""
        self._bans = {place: tokens for place, tokens in self._bans.items() if place <= position}
        if ban:
            self._bans[position] = self._bans.get(position, NO_BAN) | frozenset(ban)
