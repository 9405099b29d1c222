"""A conversation that goes on elsewhere: with another model, in another process."""

import pytest

from firesteel.errors import RequestError
from firesteel.session.conversation import Conversation
from firesteel.session.updates import QueueChanged, Returned, Started
from tests.session.fake_engine import runtime
from tests.session.stage import Stage


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_another_model_gets_the_words_not_the_ids(stage: Stage) -> None:
    stage.ask("one", "first")
    stage.conversation.move_to(None)
    assert stage.conversation.ask("two") == [QueueChanged(steering=(), queued=("two",))]
    updates = stage.conversation.move_to(runtime(stage.engine, stage.templates, model="another"))
    assert updates == [Started(user="two"), QueueChanged(steering=(), queued=())]
    assert stage.conversation.rerendered
    stage.settle()
    assert stage.templates.num_rendered == 2


@pytest.mark.parametrize("model", ["toy", "another"])
def test_a_saved_conversation_goes_on(stage: Stage, model: str) -> None:
    stage.ask("one", "first")
    stage.saying("two", "sec")
    stage.conversation.queue("three")
    again = Conversation.from_dict(stage.conversation.to_dict(), stage.events.append)
    assert again.messages == stage.conversation.messages
    assert again.exchanges[-1].reason == "cancelled"
    assert again.take_back()[0] == Returned(texts=("three",))
    assert again.undo() == "two"
    again.move_to(runtime(stage.engine, stage.templates, model=model))
    assert (again.ids is None) == (model == "another")
    assert again.exchanges[0].answer == "first"


def test_a_turn_without_a_word_is_saved_as_unsent(stage: Stage) -> None:
    stage.conversation.ask("one")
    again = Conversation.from_dict(stage.conversation.to_dict(), stage.events.append)
    assert again.waiting.queued == ("one",)


@pytest.mark.parametrize(
    "data", [None, {"version": 1}, {"version": 99, "id": "a", "model": "b"}, {"version": 1, "id": 3, "model": "b"}]
)
def test_what_is_no_saved_conversation_is_refused(data: object) -> None:
    with pytest.raises(RequestError, match="conversation"):
        Conversation.from_dict(data, print)
