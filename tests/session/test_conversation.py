"""What each intent does, one example each; `test_conversation_races.py` plays them in any order."""

import pytest

from firesteel.errors import ContextTooLong, RequestError
from firesteel.session.turn import BOUNDARY_TOKENS
from firesteel.session.updates import (
    Ended,
    Failed,
    PromptProgress,
    QueueChanged,
    Returned,
    Started,
    TextAdded,
    TextTakenBack,
    Update,
)
from tests.session.fake_engine import END, decode, said
from tests.session.stage import Stage


@pytest.fixture
def stage() -> Stage:
    return Stage()


def kinds(updates: list[Update]) -> list[type]:
    return [type(update) for update in updates]


def test_a_turn_and_the_next_go_on_from_exact_ids(stage: Stage) -> None:
    stage.ask("one", "first")
    before = stage.conversation.ids
    assert before is not None
    stage.ask("two", "second")
    assert stage.engine.prompts[1][: len(before)] == before
    assert stage.engine.prompts[1][len(before)] == END
    assert stage.templates.num_rendered == 1
    assert not stage.conversation.rerendered
    assert said(stage.conversation.messages) == [
        ("user", "one"),
        ("assistant", "first"),
        ("user", "two"),
        ("assistant", "second"),
    ]


def test_updates_of_a_turn(stage: Stage) -> None:
    assert stage.conversation.ask("one") == [Started(user="one")]
    stage.engine.take()
    stage.engine.progress()
    stage.engine.say("abc")
    stage.engine.rewind(stage.conversation.id + "/1", 1)
    stage.engine.end()
    updates = stage.settle()
    assert kinds(updates) == [PromptProgress, TextAdded, TextTakenBack, Ended]
    assert stage.conversation.exchanges[0].answer == "a"
    assert stage.conversation.exchanges[0].reason == "stop"


def test_steer_keeps_the_partial_answer_and_computes_only_the_new(stage: Stage) -> None:
    stage.saying("one", "first")
    assert stage.conversation.steer("rather two") == [QueueChanged(steering=("rather two",), queued=())]
    stage.settle()
    stage.engine.say(" line")  # up to the boundary
    stage.engine.boundary()
    updates = stage.settle()
    assert kinds(updates) == [TextAdded, Ended, Started, QueueChanged]
    assert updates[2] == Started(user="rather two", steered=True)
    stage.engine.say("second")
    stage.engine.end()
    stage.settle()
    assert [exchange.reason for exchange in stage.conversation.exchanges] == ["steered", "stop"]
    assert decode(stage.conversation.ids or []) == said(stage.conversation.messages)
    assert stage.engine.steered[0].tokens == stage.conversation.exchanges[1].prompt


def test_steers_before_the_first_is_taken_up_break_in_together(stage: Stage) -> None:
    stage.saying("one", "first")
    for text in ("two", "three", "four"):
        stage.conversation.steer(text)
    stage.settle()
    stage.engine.boundary()
    stage.settle()
    assert stage.conversation.waiting.steering == ("three\n\nfour",)
    stage.engine.boundary()
    stage.settle()
    assert [message.content for message in stage.conversation.messages if message.role == "user"] == [
        "one",
        "two",
        "three\n\nfour",
    ]


def test_a_steer_that_comes_too_late_is_an_ordinary_turn(stage: Stage) -> None:
    stage.saying("one", "first")
    stage.engine.end()  # but nobody knows yet
    stage.conversation.steer("two")
    stage.conversation.queue("three")
    assert kinds(stage.settle()) == [Ended, Started, QueueChanged]
    assert said(stage.conversation.messages)[-1] == ("user", "two")
    assert stage.conversation.waiting.queued == ("three",)


def test_an_answer_that_ends_at_the_steer_is_whole(stage: Stage) -> None:
    stage.saying("one", "first")
    stage.conversation.steer("two")
    stage.settle()
    stage.engine.end()  # by itself, and the successor takes over
    assert kinds(stage.settle()) == [Ended]
    stage.engine.say("second")
    assert kinds(stage.settle()) == [Started, QueueChanged, TextAdded]
    assert [exchange.reason for exchange in stage.conversation.exchanges] == ["stop"]


def test_steer_while_nothing_runs_is_a_turn(stage: Stage) -> None:
    assert stage.conversation.steer("one") == [Started(user="one")]


def test_a_successor_that_does_not_fit_after_all_is_asked_again(stage: Stage) -> None:
    stage.saying("one", "first")
    stage.conversation.steer("two")
    stage.settle()
    stage.engine.boundary()
    stage.engine.fail("context_length_exceeded")
    updates = stage.settle()
    assert kinds(updates) == [Ended, Started, QueueChanged, Started, QueueChanged]
    assert said(stage.conversation.messages) == [("user", "one"), ("assistant", "first"), ("user", "two")]


def test_queued_words_follow_one_by_one(stage: Stage) -> None:
    stage.saying("one", "first")
    stage.conversation.queue("two")
    stage.conversation.queue("three")
    stage.engine.end()
    assert stage.settle()[-1] == QueueChanged(steering=(), queued=("three",))
    stage.engine.end()
    assert Started(user="three") in stage.settle()


def test_interrupt_keeps_the_answer_and_returns_what_waits(stage: Stage) -> None:
    stage.saying("one", "first")
    stage.conversation.steer("two")
    stage.conversation.queue("three")
    updates = stage.conversation.interrupt()
    assert [update.texts for update in updates if isinstance(update, Returned)] == [("two",), ("three",)]
    assert updates[-1] == QueueChanged(steering=(), queued=())
    assert kinds(stage.settle()) == [Ended]
    assert stage.conversation.exchanges[0].reason == "cancelled"
    before = stage.conversation.ids
    assert before is not None
    stage.conversation.ask("four")
    stage.settle()
    assert stage.engine.prompts[-1][: len(before)] == before


def test_interrupt_before_the_first_word_returns_the_question(stage: Stage) -> None:
    stage.conversation.ask("one")
    stage.conversation.interrupt()
    assert Returned(texts=("one",)) in stage.settle()
    assert not stage.conversation.exchanges


def test_words_sent_after_an_interrupt_are_the_next_turn(stage: Stage) -> None:
    stage.saying("one", "first")
    stage.conversation.interrupt()
    stage.conversation.steer("two")
    assert Started(user="two") in stage.settle()


def test_undo_goes_back_to_the_exact_ids_before(stage: Stage) -> None:
    stage.ask("one", "first")
    before = stage.conversation.ids
    stage.ask("two", "second")
    assert stage.conversation.undo() == "two"
    assert stage.conversation.ids == before
    assert stage.conversation.undo() == "one"
    assert stage.conversation.undo() is None


def test_intents_that_need_rest_say_so(stage: Stage) -> None:
    stage.saying("one", "first")
    for intent in (
        stage.conversation.undo,
        lambda: stage.conversation.ask("two"),
        lambda: stage.conversation.move_to(None),
        lambda: setattr(stage.conversation, "system", "brief"),
    ):
        with pytest.raises(RequestError, match="interrupt it first"):
            intent()
    with pytest.raises(RequestError, match="empty"):
        stage.conversation.steer(" \n")


def test_a_failure_keeps_what_was_said_and_returns_the_rest(stage: Stage) -> None:
    stage.saying("one", "first")
    stage.conversation.queue("two")
    stage.engine.fail()
    updates = stage.settle()
    assert kinds(updates) == [Failed, Returned, QueueChanged]
    assert stage.conversation.exchanges[0].reason == "failed"
    assert stage.conversation.ids is None  # the engine took them with it
    stage.conversation.ask("three")
    stage.settle()
    assert stage.conversation.rerendered
    assert decode(stage.engine.prompts[-1])[:3] == said(stage.conversation.messages)


def test_a_failure_before_the_first_word_returns_the_question(stage: Stage) -> None:
    stage.conversation.ask("one")
    stage.engine.take()
    stage.engine.fail()
    assert kinds(stage.settle()) == [Failed, Returned]
    assert not stage.conversation.messages


def test_without_a_tail_everything_is_rendered(stage: Stage) -> None:
    stage.ask("one", "first")
    stage.templates.has_tail = False
    stage.saying("two", "second")
    assert stage.conversation.rerendered
    stage.conversation.steer("three")  # cannot break in: the answer is cut, and a turn follows
    updates = stage.settle()
    assert kinds(updates) == [Ended, Started, QueueChanged]
    assert stage.conversation.exchanges[-1].reason == "cancelled"
    assert decode(stage.engine.prompts[-1])[:5] == said(stage.conversation.messages)


def test_an_answer_gets_what_fits() -> None:
    stage = Stage(context_tokens=100)
    stage.conversation.ask("x" * 50)
    stage.settle()
    prompt = stage.engine.prompts[0]
    assert stage.engine.live["conversation/1"].work.max_tokens == 100 - len(prompt)
    stage.conversation.steer("y")
    assert (
        stage.engine.steered[0].max_tokens == 100 - len(prompt) - len(stage.engine.steered[0].tokens) - BOUNDARY_TOKENS
    )


def test_a_full_context_is_an_honest_error_that_loses_nothing() -> None:
    stage = Stage(context_tokens=100)
    stage.ask("one", "first")
    with pytest.raises(ContextTooLong, match=r"/undo.*/new.*--context"):
        stage.conversation.ask("x" * 100)
    assert not stage.conversation.is_running
    stage.saying("two", "second")
    with pytest.raises(ContextTooLong):
        stage.conversation.steer("x" * 100)
    stage.conversation.queue("y" * 100)
    stage.conversation.queue("three")
    stage.engine.end()
    updates = stage.settle()
    assert kinds(updates) == [Ended, Failed, Returned, Returned, QueueChanged, QueueChanged]
    assert updates[2:4] == [Returned(texts=("y" * 100,)), Returned(texts=("three",))]
    stage.ask("three", "third")
    assert stage.conversation.num_tokens == len(stage.conversation.ids or ())
