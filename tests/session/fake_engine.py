"""An engine and templates for tests of conversations: every race can be played, step by step."""

from collections import deque
from collections.abc import Callable

from firesteel.errors import RequestError
from firesteel.session.turn import Runtime
from firesteel.types import (
    Delta,
    Event,
    Failure,
    Finish,
    FinishReason,
    Message,
    Progress,
    Rewind,
    Sampling,
    Usage,
    Work,
)

ROLES = {"system": 0x110001, "user": 0x110002, "assistant": 0x110003}
NAMES = {token: role for role, token in ROLES.items()}
END = 0x110004
OWN = 0x200000  # the model spells its letters with other tokens than a template would

Deliver = Callable[[Event], None]


class ToyTemplates:
    """One token a letter; `has_tail` false plays a template whose turns do not close in a fixed way."""

    def __init__(self) -> None:
        self.has_tail = True
        self.num_rendered = 0

    def prompt(self, messages: tuple[Message, ...]) -> list[int]:
        self.num_rendered += 1
        return [*(token for message in messages for token in _turn(message)), ROLES["assistant"]]

    def tail(self, messages: tuple[Message, ...]) -> list[int]:
        if not self.has_tail:
            raise RequestError("no tail", param="messages")
        assert [message.role for message in messages[-2:]] == ["assistant", "user"]
        return [END, *_turn(messages[-1]), ROLES["assistant"]]


def _turn(message: Message) -> list[int]:
    return [ROLES[message.role], *map(ord, message.content), END]


def decode(ids: list[int]) -> list[tuple[str, str]]:
    """Return role and text of each turn in `ids`; the last one may be open."""
    turns: list[tuple[str, str]] = []
    for token in ids:
        if token in NAMES:
            turns.append((NAMES[token], ""))
        elif token != END:
            role, text = turns[-1]
            turns[-1] = (role, text + chr(token - OWN if token >= OWN else token))
    return turns


def said(messages: tuple[Message, ...]) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in messages]


class Live:
    """A sequence: its prompt, what it said, and who steers it."""

    def __init__(self, work: Work, prompt: list[int], deliver: Deliver) -> None:
        self.work = work
        self.prompt = prompt
        self.deliver = deliver
        self.tokens: list[int] = []
        self.steer: tuple[Work, Deliver] | None = None


class FakeEngine:
    """Commands wait in `inbox` until `take`; sequences speak when they are told to."""

    def __init__(self) -> None:
        self.inbox: deque[Callable[[], None]] = deque()
        self.live: dict[str, Live] = {}
        self.prompts: list[list[int]] = []  # of every sequence that began
        self.steered: list[Work] = []

    def add(self, work: Work, deliver: Deliver) -> None:
        self.inbox.append(lambda: self._begin(Live(work, work.tokens, deliver)))

    def cancel(self, id: str) -> None:
        self.inbox.append(lambda: self._cancel(id))

    def steer(self, id: str, work: Work, deliver: Deliver) -> None:
        self.steered.append(work)
        self.inbox.append(lambda: self._steer(id, work, deliver))

    def rewind(self, id: str, to_token: int, ban: tuple[int, ...] = (), hint: tuple[int, ...] = ()) -> None:
        sequence = self.live[id]
        del sequence.tokens[to_token:]
        sequence.deliver(Rewind(id, to_token, to_token))

    def take(self) -> None:
        """Take in all commands."""
        while self.inbox:
            self.inbox.popleft()()

    def say(self, text: str) -> None:
        """Let the live sequence say `text`, one token a letter, as long as it may."""
        for id, sequence in self.live.items():
            text = text[: sequence.work.max_tokens - len(sequence.tokens)]
            sequence.tokens += [OWN + ord(letter) for letter in text]
            sequence.deliver(Delta(id, text, len(text)))

    def progress(self) -> None:
        for id, sequence in self.live.items():
            sequence.deliver(Progress(id, 1, len(sequence.prompt)))

    def end(self, reason: FinishReason = "stop") -> None:
        """The live sequence ends by itself; a steer that waited for it takes over."""
        for id, sequence in list(self.live.items()):
            steer, sequence.steer = sequence.steer, None
            self._finish(id, reason)
            if steer is not None:
                work, deliver = steer
                self._begin(Live(work, sequence.prompt + sequence.tokens + work.tokens, deliver))

    def boundary(self) -> None:
        """The live sequence reaches a boundary: a steer takes effect."""
        if any(sequence.steer for sequence in self.live.values()):
            self.end("steered")

    def fail(self, code: str = "engine_failure") -> None:
        """The live sequence fails, and its steer with it."""
        for id in list(self.live):
            sequence = self.live.pop(id)
            sequence.deliver(Failure(id, code, "it failed"))
            self._refuse(sequence)

    def _begin(self, sequence: Live) -> None:
        assert not self.live, "two turns run at once"
        self.prompts.append(sequence.prompt)
        self.live[sequence.work.id] = sequence

    def _cancel(self, id: str) -> None:
        """End `id`; a steer that waits takes what it waits for with it."""
        if id in self.live:
            self._finish(id, "cancelled")
        for live, sequence in list(self.live.items()):
            if sequence.steer is not None and sequence.steer[0].id == id:
                self._finish(live, "cancelled")

    def _steer(self, id: str, work: Work, deliver: Deliver) -> None:
        if id in self.live:
            assert self.live[id].steer is None, "one steer at a time"
            self.live[id].steer = (work, deliver)
        else:
            deliver(Failure(work.id, "not_running", "it has ended"))

    def _finish(self, id: str, reason: FinishReason) -> None:
        sequence = self.live.pop(id)
        usage = Usage(num_prompt_tokens=len(sequence.prompt), num_cached_tokens=0, num_output_tokens=1)
        sequence.deliver(Finish(id, reason, usage, sequence.tokens))
        self._refuse(sequence)

    def _refuse(self, sequence: Live) -> None:
        if sequence.steer is not None:
            (work, deliver), sequence.steer = sequence.steer, None
            deliver(Failure(work.id, "not_running", "it has ended"))


def runtime(
    engine: FakeEngine, templates: ToyTemplates, *, context_tokens: int = 10_000, model: str = "toy"
) -> Runtime:
    return Runtime(
        engine=engine,
        templates=templates,
        sampling=Sampling(),
        context_tokens=context_tokens,
        model=model,
    )
