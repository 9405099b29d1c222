"""The user breaks into an answer: how long until the first token that knows the new words?

Ours steers: the engine stops at the next safe boundary and goes on from there with the new words. The peer
has no such thing: a client closes the stream and sends everything again, the partial answer included. Floor:
the way to the boundary, and the bare cost of computing the new tokens there. Ours runs in this process,
the peer is asked over HTTP, which costs it one or two milliseconds.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from itertools import count
from queue import Empty, SimpleQueue
from statistics import median
from typing import Any

import msgspec

from firesteel.bench import bare, client, sides
from firesteel.bench.bare import Bare
from firesteel.bench.client import SILENCE_SECONDS, Connection
from firesteel.bench.conversation import PATH, Conversation, text_of
from firesteel.bench.options import Options
from firesteel.bench.progress import steps
from firesteel.bench.report import Measurement
from firesteel.bench.roofline import Ceiling
from firesteel.bench.sides import Side
from firesteel.bench.subject import Subject
from firesteel.engine.worker import EngineWorker
from firesteel.errors import EngineFailure
from firesteel.request.chat_template import render, render_tail
from firesteel.types import ChatPrompt, Delta, Event, Failure, Finish, Message, Sampling, Work

HISTORY_TOKENS = 4_096
ANSWER_TOKENS = 400
FIRST_MOMENT, MOMENTS = 8, 23  # tokens of the answer that have come when the user speaks: from 8 to 30
TARGET = "≤ boundary + bare prefill + 30 ms"
GREEDY = Sampling(temperature=0)


class Split(msgspec.Struct, frozen=True):
    """One steer of ours, in seconds from the call. `num_new` rows were computed after `num_known` known ones."""

    boundary: float  # to `Finish("steered")`
    total: float  # to the first text of the successor
    bare: float  # computing the new rows alone
    num_known: int
    num_new: int

    @property
    def overhead(self) -> float:
        """What is neither the way to the boundary nor the new tokens' own cost."""
        return self.total - self.boundary - self.bare


class Resend(msgspec.Struct, frozen=True):
    """One re-send to the peer: seconds to its first text, and the prompt tokens that it computed."""

    total: float
    num_computed: int


class Stream:
    """The events of one sequence, with the times at which the engine's thread delivered them."""

    def __init__(self) -> None:
        self._events: SimpleQueue[tuple[float, Event]] = SimpleQueue()

    def deliver(self, event: Event) -> None:
        """Take an event in; called by the engine."""
        self._events.put((time.perf_counter(), event))

    def until(self, wanted: Callable[[Event], bool]) -> tuple[float, Event]:
        """Return the next event that is wanted and its time. Raises `EngineFailure` when the sequence ends first."""
        while True:
            try:
                seconds, event = self._events.get(timeout=SILENCE_SECONDS)
            except Empty:
                raise EngineFailure(f"the engine said nothing for {SILENCE_SECONDS:.0f} seconds") from None
            if wanted(event):
                return seconds, event
            if isinstance(event, Finish | Failure):
                raise EngineFailure(f"the sequence ended before it could be steered: {event}")


def measure(options: Options, subject: Subject) -> Measurement:
    """Steer `options.pairs` times. Raises `ConfigError` or `EngineFailure`."""
    num_tokens = options.num_tokens(HISTORY_TOKENS)
    context = sides.context_for(num_tokens)
    conversation = Conversation.about(text_of(subject.tokenizer, num_tokens))
    conversation.messages[-1]["content"] += " Then write all of it out again, with comments."
    ours: list[Split] = []
    theirs: list[Resend] = []
    peer = sides.theirs(subject, {"n_ctx": context}) if options.with_peer else nullcontext()
    with (
        steps((1 + options.with_peer) * options.pairs) as step,
        bare.opened(subject, context) as floor,
        running_engine(subject, context) as engine,
        peer as side,
    ):
        for number in range(1, options.pairs + 1):
            for name in ("ours", "peer") if number % 2 else ("peer", "ours"):
                if name == "ours":
                    step(f"ours: steer {number}")
                    ours.append(steer(engine, subject, floor, conversation, number))
                elif side is not None:
                    step(f"peer: re-send {number}")
                    theirs.append(resend(side, conversation, number))
    return summary(num_tokens, ours, theirs)


@contextmanager
def running_engine(subject: Subject, context: int) -> Iterator[EngineWorker]:
    """Run an engine on a thread of this process until the block ends."""
    config = subject.engine_config(context_tokens=context)
    engine = EngineWorker(subject.open_backend(context_tokens=context), config)
    engine.start()
    try:
        yield engine
    finally:
        engine.close()


def moment(number: int) -> int:
    """Return after how many tokens of the answer steer number `number` comes: each time elsewhere in a line."""
    return FIRST_MOMENT + number * 7 % MOMENTS


def words(number: int) -> str:
    """Return what the user says in the middle of the answer, another one for each number."""
    return f"{number}. Stop. Write only the shortest function, and use type annotations."


def steer(engine: EngineWorker, subject: Subject, floor: Bare, conversation: Conversation, number: int) -> Split:
    """Begin the answer, steer it, and measure the floor at that place."""
    messages = tuple(Message(role=m["role"], content=m["content"]) for m in conversation.messages)  # type: ignore[arg-type]
    prompt = render(ChatPrompt(messages=messages), subject.tokenizer)
    broken_off = (Message(role="assistant", content=""), Message(role="user", content=words(number)))
    tail = render_tail((*messages, *broken_off), (), subject.tokenizer)
    first, second, tokens = Stream(), Stream(), count()
    engine.add(Work(id=f"{number}", tokens=prompt, sampling=GREEDY, max_tokens=ANSWER_TOKENS), first.deliver)
    first.until(lambda event: isinstance(event, Delta) and next(tokens) == moment(number))
    called = time.perf_counter()
    successor = Work(id=f"{number} steered", tokens=tail, sampling=GREEDY, max_tokens=2)
    engine.steer(f"{number}", successor, second.deliver)
    stopped, end = first.until(lambda event: isinstance(event, Finish) and event.reason == "steered")
    answered, _ = second.until(lambda event: isinstance(event, Delta))
    second.until(lambda event: isinstance(event, Finish))
    assert isinstance(end, Finish)
    num_known = len(prompt) + len(end.tokens) - 1  # the last token that was chosen was not computed yet
    floor.fill(num_known)
    rows = len(tail) + 1
    return Split(stopped - called, answered - called, floor.seconds(rows), num_known, rows)


def resend(side: Side, conversation: Conversation, number: int) -> Resend:
    """Begin the answer, close the stream, and send everything again with the new words."""
    with closing(Connection(side.server.port)) as connection:
        partial = answer_until(connection, conversation.body(side.model_id, ANSWER_TOKENS), moment(number))
        longer = Conversation([*conversation.messages])
        longer.assistant(partial)
        longer.user(words(number))
        called = time.perf_counter()
    answer = side.ask(longer, 2)
    total = time.perf_counter() - called - (answer.end - answer.first)
    return Resend(total, answer.num_prompt_tokens - answer.num_cached_tokens)


def answer_until(connection: Connection, body: dict[str, Any], num_events: int) -> str:
    """Return the text of the answer once more than `num_events` events have carried some of it."""
    exchange = connection.send(PATH, body)
    texts: list[str] = []
    while len(texts) <= num_events:
        if exchange.complete:
            raise EngineFailure("the answer ended before it could be broken off")
        connection.receive()
        texts = [text for _, event in client.timed_events(exchange.pieces) if (text := client.event_text(event))]
    return "".join(texts)


def summary(num_tokens: int, ours: list[Split], theirs: list[Resend]) -> Measurement:
    """Return the times to the first new token, split."""
    floors = [one.boundary + one.bare for one in ours]
    details: dict[str, Any] = {
        "target": TARGET,
        "boundary_ms": [one.boundary * 1e3 for one in ours],
        "bare_prefill_ms": [one.bare * 1e3 for one in ours],
        "overhead_ms": [one.overhead * 1e3 for one in ours],
        "new_tokens": [one.num_new for one in ours],
    }
    if theirs:
        details["peer_computed_tokens"] = [one.num_computed for one in theirs]
    return Measurement(
        workload=f"steer at {num_tokens} tokens of history",
        unit="ms",
        ours=[one.total * 1e3 for one in ours],
        theirs=[one.total * 1e3 for one in theirs],
        ceiling=Ceiling(median(floors) * 1e3, "the way to the boundary, then the new tokens' rows alone"),
        details=details,
    )
