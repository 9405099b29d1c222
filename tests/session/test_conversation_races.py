"""Asks, steers, queues, interrupts and undos in any order, against a plain model of what was said."""

from collections import deque
from itertools import count
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from firesteel.errors import ContextTooLong
from firesteel.session.conversation import Conversation
from firesteel.session.updates import Failed, Returned, Started, TextAdded, TextTakenBack, Update
from firesteel.types import Event
from tests.session.fake_engine import FakeEngine, ToyTemplates, decode, runtime, said

CONTEXT = 300  # small: some runs fill it


class Races(RuleBasedStateMachine):
    """The engine takes commands, and the conversation events, whenever the run says so."""

    def __init__(self) -> None:
        super().__init__()
        self.engine = FakeEngine()
        self.templates = ToyTemplates()
        self.mailbox: deque[Event] = deque()
        self.models = 0
        self.runtime = runtime(self.engine, self.templates, context_tokens=CONTEXT)
        self.conversation = Conversation(self.runtime, self.mailbox.append)
        self.numbers = count(100)  # all words have three digits: none contains another
        self.sent: list[str] = []
        self.given_back: list[str] = []
        self.story: list[list[str]] = []  # the plain model: [user, answer] of each turn

    def apply(self, updates: list[Update]) -> None:
        """Play the updates onto the plain model."""
        for update in updates:
            if isinstance(update, Started):
                self.story.append([update.user, ""])
            elif isinstance(update, TextAdded):
                self.story[-1][1] += update.text
            elif isinstance(update, TextTakenBack):
                self.story[-1][1] = self.story[-1][1][: update.num_text]
            elif isinstance(update, Returned):
                self.given_back += update.texts
                if self.story and update.texts == (self.story[-1][0],) and not self.story[-1][1]:
                    self.story.pop()
            elif isinstance(update, Failed):
                assert update.code

    def send(self, intent: Any) -> None:
        """Send a new word; one that is refused was never sent."""
        word = f"w{next(self.numbers)}"
        try:
            updates = intent(word)
        except ContextTooLong:
            return
        self.sent.append(word)
        self.apply(updates)

    @precondition(lambda self: not self.conversation.is_running)
    @rule()
    def ask(self) -> None:
        self.send(self.conversation.ask)

    @rule()
    def steer(self) -> None:
        self.send(self.conversation.steer)

    @rule()
    def queue(self) -> None:
        self.send(self.conversation.queue)

    @rule()
    def interrupt(self) -> None:
        self.apply(self.conversation.interrupt())

    @rule()
    def take_back(self) -> None:
        self.apply(self.conversation.take_back())

    @precondition(lambda self: not self.conversation.is_running)
    @rule()
    def undo(self) -> None:
        user = self.conversation.undo()
        if user is None:
            assert not self.story
        else:
            self.given_back.append(user)
            assert self.story.pop()[0] == user

    @precondition(lambda self: not self.conversation.is_running)
    @rule(data=st.data())
    def change(self, data: st.DataObject) -> None:
        what = data.draw(st.sampled_from(["model", "system", "save", "tail"]))
        if what == "model":
            self.models += 1
            self.runtime = runtime(self.engine, self.templates, context_tokens=CONTEXT, model=str(self.models))
            self.apply(self.conversation.move_to(self.runtime))
            assert self.conversation.ids is None
        elif what == "system":
            self.conversation.system = "brief"
        elif what == "tail":
            self.templates.has_tail = not self.templates.has_tail
        else:
            before = self.conversation.ids
            self.conversation = Conversation.from_dict(self.conversation.to_dict(), self.mailbox.append)
            self.apply(self.conversation.move_to(self.runtime))
            assert self.conversation.ids == before

    @rule()
    def engine_takes_commands(self) -> None:
        self.engine.take()

    @rule(text=st.sampled_from(["a", "bc", "def "]))
    def engine_says(self, text: str) -> None:
        self.engine.say(text)

    @rule()
    def engine_reaches_a_boundary(self) -> None:
        self.engine.boundary()

    @rule(how=st.sampled_from(["stop", "length", "fail", "progress"]))
    def engine_ends(self, how: str) -> None:
        if how == "fail":
            self.engine.fail()
        elif how == "progress":
            self.engine.progress()
        else:
            self.engine.end("stop" if how == "stop" else "length")

    @rule(share=st.floats(0, 1))
    def engine_rewinds(self, share: float) -> None:
        for id, sequence in list(self.engine.live.items()):
            self.engine.rewind(id, int(share * len(sequence.tokens)))

    @rule(most=st.integers(1, 8))
    def events_arrive(self, most: int) -> None:
        for _ in range(min(most, len(self.mailbox))):
            self.apply(self.conversation.handle(self.mailbox.popleft()))

    @invariant()
    def no_word_is_lost_or_doubled(self) -> None:
        waiting = self.conversation.waiting
        users = [message.content for message in self.conversation.messages if message.role == "user"]
        places = "\n".join([*users, *waiting.steering, *waiting.queued, *self.given_back])
        assert {word: places.count(word) for word in self.sent} == dict.fromkeys(self.sent, 1)

    @invariant()
    def history_is_the_story(self) -> None:
        turns = [text for user, answer in self.story for text in (user, answer)]
        if (
            self.conversation.is_running
            and turns
            and not turns[-1]
            and said(self.conversation.messages)[-1][0] == "user"
        ):
            turns.pop()
        messages = [message.content for message in self.conversation.messages if message.role != "system"]
        assert messages == turns

    @invariant()
    def ids_say_what_the_messages_say(self) -> None:
        ids = self.conversation.ids
        if ids is not None and not self.conversation.is_running:
            assert decode(ids) == said(self.conversation.messages)
            assert len(ids) <= CONTEXT

    @invariant()
    def words_wait_only_for_a_turn(self) -> None:
        waiting = self.conversation.waiting
        assert self.conversation.is_running or not (waiting.steering or waiting.queued)

    def teardown(self) -> None:
        """Whatever was open comes to its end: nothing runs, nothing waits, nothing is lost."""
        for _ in range(1000):
            self.engine.take()
            self.engine.boundary()
            self.engine.end()
            while self.mailbox:
                self.apply(self.conversation.handle(self.mailbox.popleft()))
            if not self.engine.inbox and not self.engine.live:
                break
        assert not self.conversation.is_running
        self.no_word_is_lost_or_doubled()
        self.history_is_the_story()
        self.words_wait_only_for_a_turn()


TestRaces = Races.TestCase
TestRaces.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
