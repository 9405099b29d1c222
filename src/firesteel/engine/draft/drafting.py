"""Drafting of all live sequences: who guesses for whom, what a step verifies, what is learned of it."""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from firesteel.backend.base import Backend
from firesteel.config import EngineConfig
from firesteel.engine.cost import StepCost
from firesteel.engine.draft import learned
from firesteel.engine.draft.arbiter import Arbiter
from firesteel.engine.draft.base import Draft, Drafter
from firesteel.engine.draft.calibration import Calibration
from firesteel.engine.draft.drafts import Drafts
from firesteel.engine.draft.evidence import believed
from firesteel.engine.draft.follow import Follower
from firesteel.engine.draft.model import open_model
from firesteel.engine.draft.ngram import NgramDrafter
from firesteel.engine.draft.suffix import Corpus, SuffixDrafter
from firesteel.types import Work

if TYPE_CHECKING:
    from firesteel.engine.schedule import Plan, Scheduler
    from firesteel.engine.sequence import Sequence as Live

MAX_CORPORA = 8  # scopes whose past outputs are held, the latest used; 9 MB each when full
MIN_CORPUS_OUTPUT = 8  # tokens: shorter outputs teach nothing
AVOIDED, LEAST = 0.998, 0.6  # how much cheaper a size looks each time that no draft was worth it, and at most


class Drafting:
    """Makes the drafters of each sequence, and lets the arbiter choose for each step. Owned by the engine."""

    def __init__(self, config: EngineConfig, backend: Backend, now: Callable[[], float]) -> None:
        """Load the draft model, where there is one. Raises ConfigError, ModelError (see `draft.model`)."""
        limit = backend.capabilities
        self._names = config.drafters if limit.can_trim and not limit.can_draft else ()
        self._max_draft = min(config.max_draft, limit.max_rows - 1, limit.max_wanted_rows - 1)
        self._max_rows = min(limit.max_rows, limit.max_wanted_rows)
        self._max_gap_seconds = config.max_gap_seconds
        self._now = now
        self._corpora: OrderedDict[str, Corpus] = OrderedDict()
        self.calibration = Calibration(believed)
        self.cost = StepCost()  # of steps that carry streams only: each of their rows is wanted
        self._arbiter = Arbiter(self.cost)
        self.seconds = 0.0  # spent here so far
        self.num_drafted = self.num_accepted = 0  # tokens
        self._is_learning = False  # this step carries streams only
        self._plain_seconds = 0.0  # that it would take without drafts
        self._is_refused = False  # a stream of this step had a draft that was not worth its rows
        self._file = learned.path_of(config, backend.state_fingerprint) if self.is_on else None
        if self._file is not None:
            learned.load(self._file, self.cost, self.calibration)
        self.model = open_model(config, backend, now)

    @property
    def is_on(self) -> bool:
        """Whether anybody may guess."""
        return bool(self._names) and self._max_draft > 0

    def drafts(self, work: Work) -> Drafts:
        """Return the drafters of a sequence that begins."""
        drafters: list[Drafter] = []
        if "prediction" in self._names and work.prediction:
            drafters.append(Follower("prediction", work.prediction, begins=True))
        if "reference" in self._names:
            drafters.append(Follower("reference", work.tokens, begins=False))
        if "ngram" in self._names:
            drafters.append(NgramDrafter(work.tokens))
        if "suffix" in self._names:
            drafters.append(SuffixDrafter(self._corpus(work.scope), work.tokens))
        if self.model is not None:
            drafters.append(self.model.drafter(work.id, work.tokens))
        own = Calibration(self.calibration.chance)
        return Drafts(drafters, (own, self.calibration))

    def _corpus(self, scope: str) -> Corpus:
        corpus = self._corpora.setdefault(scope, Corpus())
        self._corpora.move_to_end(scope)
        while len(self._corpora) > MAX_CORPORA:
            self._corpora.popitem(last=False)
        return corpus

    def keep(self, scope: str, output: list[int]) -> None:
        """Let an output that has ended serve later ones of its scope."""
        if "suffix" in self._names and len(output) >= MIN_CORPUS_OUTPUT:
            self._corpus(scope).add(output)

    def begin_step(self, plan: "Plan", scheduler: "Scheduler") -> int:
        """Let the streams guess, unless the step computes prompts, too; return how many tokens were guessed."""
        self._is_learning = False
        if not self.is_on:
            return 0
        for sequence, _ in plan:
            sequence.draft = None
        if not all(sequence.is_stream for sequence, _ in plan):
            return 0
        self._is_learning = True
        ready = [sequence for sequence, rows in plan if rows == sequence.num_uncomputed]
        num_rows = sum([rows for _, rows in plan])
        self.draft(ready, num_rows, scheduler.num_free_beside(plan), scheduler.num_tokens)
        return sum([sequence.num_drafted for sequence in ready])

    def draft(self, streams: "Sequence[Live]", num_rows: int, num_free: int, num_tokens: int) -> None:
        """Give each of `streams` the draft that the next step verifies, or none.

        `num_rows`: of the step without drafts; `num_free`: cells that may be filled beyond them; `num_tokens`:
        of history in the context.
        """
        others, self._is_refused = float(len(streams) - 1), False
        self._plain_seconds = self.cost.seconds(num_rows, num_tokens)
        has_model = self.model is not None and self.model.begin(len(streams)) != "off"
        for stream in streams:
            drafts = stream.drafts
            room = self.room(streams, stream, num_rows=num_rows, num_free=num_free, num_tokens=num_tokens)
            if not drafts or room < 1 or stream.successor is not None or (drafts.is_resting() and not has_model):
                continue
            started = self._now() + self._waited
            proposed = [cut for one in drafts.propose(room) if (cut := stream.verifier.allowed(one)).tokens]
            if proposed:
                stream.draft, expected = self._arbiter.choose(
                    proposed,
                    drafts.calibration,
                    num_rows=num_rows,
                    num_tokens=num_tokens,
                    others=others,
                    max_tokens=room,
                )
                others += expected - 1
                self._is_refused = self._is_refused or stream.draft is None
            length = len(stream.draft.tokens) if stream.draft is not None else 0
            num_rows, num_free = num_rows + length, num_free - length
            if has_model:
                self._prepare(stream.id, stream.draft, drafts.calibration)
            stream.draft_seconds = self._now() + self._waited - started
            self.seconds += stream.draft_seconds

    def room(self, streams: "Sequence[Live]", stream: "Live", *, num_rows: int, num_free: int, num_tokens: int) -> int:
        """Return how many tokens may be guessed for `stream`; see `draft`. A step that others share stays short."""
        room = min(self._max_draft, self._max_rows - num_rows, num_free, stream.num_remaining - 1)
        if len(streams) == 1 or room < 1 or self.cost.seconds(1) <= 0:
            return room
        costs = self.cost.curve(num_rows, room, num_tokens)
        return bisect_right(costs, max(self._max_gap_seconds, costs[0])) - 1

    @property
    def _waited(self) -> float:
        """Seconds, not positive, to leave out: waiting for the draft model is weighed by its modes."""
        return -self.model.waited_seconds if self.model is not None else 0.0

    def _prepare(self, id: str, draft: Draft | None, calibration: Calibration) -> None:
        """Let the draft model work on while the target verifies."""
        assert self.model is not None
        evidence = draft.evidence if draft is not None else []
        self.model.prepare(id, draft, [calibration.chance(draft.source, one) for one in evidence] if draft else [])

    def learn(self, stream: "Live", tokens: list[int], num_kept: int) -> None:
        """Take in what a step chose for `stream`: score what was proposed, count what was verified.

        `num_kept`: of the tokens; a stop string may have cut the rest.
        """
        draft, drafts = stream.draft, stream.drafts
        if not drafts:
            return
        if self.model is not None:
            self.model.learn(len(tokens))
        num_accepted = 0
        if draft is not None:
            num_accepted = min(len(tokens) - 1, num_kept)
            drafts.count(draft, num_accepted)
            self.num_drafted += len(draft.tokens)
            self.num_accepted += num_accepted
        drafts.learn(tokens)
        if stream.draft_seconds:
            drafts.weigh(stream.draft_seconds, num_accepted * self._plain_seconds, self._plain_seconds)
            stream.draft_seconds = 0.0
        stream.draft = None

    def observe(self, num_rows: int, seconds: float, num_tokens: int, num_drafted: int) -> bool:
        """Learn what a step took and return True, if it was one to draft for: it carried streams only."""
        if not self._is_learning:
            return False
        self.cost.observe(num_rows, seconds, num_tokens)
        if self._is_refused and not num_drafted:
            self.cost.forget(num_rows + 1, AVOIDED, LEAST)
        return True

    def close(self) -> None:
        """Free the draft model; what was learned stays on disk."""
        if self._file is not None:
            learned.save(self._file, self.cost, self.calibration)
        if self.model is not None:
            self.model.close()
