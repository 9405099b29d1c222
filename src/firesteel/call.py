"""One request on its way: its sequences in the engine, and the events that came back."""

import time
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from firesteel.session.recall import RecallingTokenizer
from firesteel.stream.mailbox import Addressed, Mailbox
from firesteel.stream.time_limit import TimeLimit
from firesteel.types import Delta, EngineClient, Event, Failure, Finish, Request, Rewind, Work
from firesteel.visit import UNCOUNTED, Visit


class Forgetful:
    """A tokenizer's memory for prompts whose tokens somebody else keeps."""

    def remember(self, tokens: Sequence[int]) -> None:
        """Do nothing."""


class Prepared(msgspec.Struct, frozen=True):
    """A prompt in tokens, and the tokenizer that remembers what comes of it."""

    tokens: list[int]
    tokenizer: RecallingTokenizer | Forgetful
    prediction: list[int] = []  # what the answer is expected to repeat
    is_truncated: bool = False


class Succession(msgspec.Struct, frozen=True):
    """A sequence that goes on from another one: the tokens that follow it, and who remembers the whole."""

    tail: list[int]
    remember: Callable[[list[int]], None]


class Call:
    """The sequences of one request. Those that steering adds are choice 0, as what they succeed."""

    def __init__(
        self, engine: EngineClient, request: Request, prompts: list[Prepared], visit: Visit = UNCOUNTED
    ) -> None:
        self.request = request
        self.visit = visit
        self.prompts = prompts
        self.num_prompt_tokens = len(prompts[0].tokens)  # of the first prompt, which is computed first
        self.created = int(time.time())
        self._engine = engine
        self._mailbox = Mailbox()
        self._limit = TimeLimit(request.predict_seconds) if request.predict_seconds is not None else None
        self._live: dict[str, int] = {}
        self._successions: dict[str, Succession] = {}
        self._has_spoken = False
        self._history: list[int] = []  # all tokens of choice 0 whose sequences have ended

    @property
    def is_complete(self) -> bool:
        """Whether every sequence has ended and every event has been taken."""
        return not self._live

    @property
    def history(self) -> list[int]:
        """All tokens of choice 0, prompts and answers, whose sequences have ended; not to be changed."""
        return self._history

    @property
    def running(self) -> str:
        """The id of the sequence that writes choice 0 now; "" when none does."""
        return next((id for id, choice in self._live.items() if choice == 0), "")

    def start(self, works: list[Work]) -> None:
        """Hand the sequences to the engine."""
        self._live = {work.id: choice for choice, work in enumerate(works)}
        for choice, work in enumerate(works):
            self.visit.started()
            self._engine.add(work, partial(self._deliver, choice))

    def steer(self, work: Work, remember: Callable[[list[int]], None]) -> None:
        """End choice 0 at its next safe boundary and go on as `work`, whose tokens follow what was said.

        `remember` is given all tokens of the conversation when `work` has ended. Its first event may be a
        `Failure` with the code `not_running`: what it should have succeeded had ended before.
        """
        running = self.running
        self._successions[work.id] = Succession(work.tokens, remember)
        self._live[work.id] = 0
        self.visit.started()
        self._engine.steer(running, work, partial(self._deliver, 0))

    def _deliver(self, choice: int, event: Event) -> None:
        """Take an event of a choice; what was computed is remembered, also when the client has left."""
        if isinstance(event, Finish):
            self._remember(choice, event)
            self.visit.ended(event.usage, has_prompt=choice % self.request.n == 0)
        elif isinstance(event, Failure):
            self.visit.ended(None)
        elif not self._has_spoken and isinstance(event, Delta) and event.text:
            self._has_spoken = True
            self.visit.spoke()
        if self._limit and isinstance(event, Delta) and self._limit.is_over(event, time.monotonic()):
            self._engine.cancel(event.id)
        self._mailbox.put(choice, event)

    def _remember(self, choice: int, finish: Finish) -> None:
        prompt = self.prompts[choice // self.request.n]
        succession = self._successions.get(finish.id)
        if succession is None:
            prompt.tokenizer.remember(finish.tokens)
            self._history = [*prompt.tokens, *finish.tokens]
        else:
            self._history = [*self._history, *succession.tail, *finish.tokens]
            succession.remember(self._history)

    async def take(self, timeout: float) -> list[Addressed]:
        """Return the events that came, at least one unless `timeout` seconds pass; a failure ends the call.

        So does a rewind, which no wire format can tell its client yet. What could not succeed ends nothing.
        """
        events = await self._mailbox.take(timeout)
        for _, event in events:
            if isinstance(event, Finish | Failure):
                self._live.pop(event.id, None)
        if any(self._is_end(event) for _, event in events):
            self.cancel()
        return events

    def _is_end(self, event: Event) -> bool:
        return isinstance(event, Rewind) or (isinstance(event, Failure) and event.id not in self._successions)

    def fail(self, failure: Failure) -> None:
        """End the call from outside, at shutdown: the client is told why."""
        self._mailbox.put(0, failure)

    def stop(self, id: str | None = None) -> None:
        """End what is live, or the one sequence `id`; its `Finish` still comes."""
        for live in [id] if id is not None else list(self._live):
            self._engine.cancel(live)

    def cancel(self) -> None:
        """End every sequence that is still live; nobody waits for their last events."""
        self.stop()
        self._live.clear()
