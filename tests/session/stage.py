"""A conversation and its engine, hand in hand."""

from typing import Any

from firesteel.session.conversation import Conversation
from firesteel.session.updates import Update
from firesteel.types import Event
from tests.session.fake_engine import FakeEngine, ToyTemplates, runtime


class Stage:
    """Every command and event arrives at once."""

    def __init__(self, **options: Any) -> None:
        self.engine = FakeEngine()
        self.templates = ToyTemplates()
        self.events: list[Event] = []
        self.runtime = runtime(self.engine, self.templates, **options)
        self.conversation = Conversation(self.runtime, self.events.append)

    def settle(self) -> list[Update]:
        """Return the updates of everything that happened so far."""
        self.engine.take()
        updates: list[Update] = []
        while self.events:
            updates += self.conversation.handle(self.events.pop(0))
            self.engine.take()
        return updates

    def ask(self, user: str, answer: str) -> None:
        """Play a whole turn."""
        self.conversation.ask(user)
        self.settle()
        self.engine.say(answer)
        self.engine.end()
        self.settle()

    def saying(self, user: str, answer: str) -> None:
        """Play a turn up to the middle of its answer."""
        self.conversation.ask(user)
        self.settle()
        self.engine.say(answer)
        self.settle()
