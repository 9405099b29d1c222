"""One answer on its way: which ids it needs, and what the engine is asked for."""

from typing import Protocol

import msgspec

from firesteel.errors import ContextTooLong, RequestError
from firesteel.session.transcript import Exchange, Reason, Transcript
from firesteel.session.updates import PromptProgress, TextAdded, TextTakenBack, Update
from firesteel.types import Delta, EngineClient, Guarded, Message, Progress, Rewind, Sampling, Work
from firesteel.verdict import GuardOrder

BOUNDARY_TOKENS = 24  # what an answer may still say before a steer takes effect
BETWEEN = "\n\n"  # messages that break in together


class Templates(Protocol):
    """Messages to token ids, by the model's own chat template. Both raise RequestError where it takes them not."""

    def prompt(self, messages: tuple[Message, ...]) -> list[int]:
        """Return the ids of a whole conversation up to where the assistant begins."""
        ...

    def tail(self, messages: tuple[Message, ...]) -> list[int]:
        """Return the ids between the last answer of `messages` and the next: its turn closes, the user's follows."""
        ...


class Runtime(msgspec.Struct, frozen=True, kw_only=True):
    """What answers: an engine, and what is to be known of its model."""

    engine: EngineClient
    templates: Templates
    sampling: Sampling
    context_tokens: int  # the most that the ids of a conversation may take
    model: str  # identity of tokenizer and template: ids of another one are not used
    max_tokens: int | None = None  # of one answer; None = what fits
    scope: str = ""
    guard: GuardOrder | None = None  # of each answer; None = nothing is looked for


class Turn(msgspec.Struct, kw_only=True):
    """An answer that is being written, or is on its way to be."""

    id: str
    user: str
    start: int  # ids before `prompt`
    prompt: list[int]
    fresh: bool = False  # `prompt` is the whole conversation
    steered: bool = False
    parts: list[str] = []
    num_tokens: int = 0
    interrupted: bool = False

    @property
    def text(self) -> str:
        """The answer so far."""
        return "".join(self.parts)

    @property
    def messages(self) -> tuple[Message, ...]:
        """The user's words, and the answer as far as it came."""
        user = Message(role="user", content=self.user)
        return (user, Message(role="assistant", content=self.text)) if self.parts else (user,)

    @property
    def num_known(self) -> int:
        """Ids of the conversation, this answer included."""
        return self.start + len(self.prompt) + self.num_tokens

    def take(self, event: Delta | Rewind | Guarded | Progress) -> Update:
        """Take in an event that is not the last one; return what it changed."""
        if isinstance(event, Progress):
            return PromptProgress(num_computed=event.num_computed, num_prompt=event.num_prompt)
        if isinstance(event, Rewind | Guarded):
            self.parts = [self.text[: event.num_text]]
            self.num_tokens = event.num_tokens
            return TextTakenBack(num_text=event.num_text)
        self.parts.append(event.text)
        self.num_tokens += event.num_tokens
        return TextAdded(text=event.text, num_tokens=event.num_tokens)

    def exchange(self, reason: Reason, tokens: list[int] | None) -> Exchange:
        """Return what this turn leaves in the transcript."""
        return Exchange(
            user=self.user, answer=self.text, reason=reason, fresh=self.fresh, prompt=self.prompt, tokens=tokens
        )


class Waiting(msgspec.Struct):
    """Words that were not sent yet."""

    steers: list[str] = []  # to break in, together, at the next boundary
    queue: list[str] = []  # to be turns of their own

    def take_steers(self) -> str | None:
        """Take the words that break in together, as one message."""
        text, self.steers = BETWEEN.join(self.steers), []
        return text or None

    def take_next(self) -> str | None:
        """Take the next turn's words."""
        return self.take_steers() or (self.queue.pop(0) if self.queue else None)

    def take_all(self) -> tuple[str, ...]:
        """Take everything."""
        texts = (*self.steers, *self.queue)
        self.steers, self.queue = [], []
        return texts


def require_text(text: str) -> None:
    """Raise RequestError for a message that says nothing."""
    if not text.strip():
        raise RequestError("the message is empty; say something", param="text")


def next_turn(runtime: Runtime, transcript: Transcript, id: str, text: str) -> tuple[Turn, Work]:
    """Return an ordinary turn: exact ids and a tail, or where that cannot be, everything rendered.

    Raises ContextTooLong, or RequestError when the template does not take the messages.
    """
    messages = (*transcript.messages, Message(role="user", content=text))
    before = transcript.ids
    if before is not None:
        try:
            turn = Turn(id=id, user=text, start=len(before), prompt=runtime.templates.tail(messages))
        except RequestError:
            before = None  # a template without a fixed tail
    if before is None:
        prompt = runtime.templates.prompt(messages)
        turn, before = Turn(id=id, user=text, start=0, prompt=prompt, fresh=True), []
    return turn, _work(runtime, turn, before + turn.prompt, turn.num_known)


def steering_turn(runtime: Runtime, transcript: Transcript, running: Turn, id: str, text: str) -> tuple[Turn, Work]:
    """Return the turn that breaks into `running`. Raises RequestError without a tail, ContextTooLong."""
    said = (Message(role="user", content=running.user), Message(role="assistant", content=running.text))
    tail = runtime.templates.tail((*transcript.messages, *said, Message(role="user", content=text)))
    turn = Turn(id=id, user=text, start=running.num_known, prompt=tail, steered=True)
    return turn, _work(runtime, turn, tail, turn.num_known + BOUNDARY_TOKENS)


def _work(runtime: Runtime, turn: Turn, tokens: list[int], num_needed: int) -> Work:
    room = runtime.context_tokens - num_needed
    if room < 1:
        raise ContextTooLong(
            f"the conversation would take {num_needed} tokens and the context holds {runtime.context_tokens}: take "
            "exchanges back (/undo), begin a new one (/new), or start with a larger --context"
        )
    return Work(
        id=turn.id,
        tokens=tokens,
        sampling=runtime.sampling,
        max_tokens=min(runtime.max_tokens or room, room),
        scope=runtime.scope,
        guard=runtime.guard,
    )
