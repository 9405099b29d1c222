"""The engine's thread, with real time and a scripted backend."""

import json
import queue
import threading
import time
from collections.abc import Iterator

import pytest

from firesteel.backend.base import Output
from firesteel.backend.scripted import ScriptedBackend, parse_script
from firesteel.clock import SystemClock
from firesteel.config import EngineConfig
from firesteel.engine import worker as worker_module
from firesteel.engine.statistics import Statistics
from firesteel.engine.worker import EngineWorker
from firesteel.types import Delta, Event, Failure, Finish, Rewind, Sampling, Work
from tests.engine.helpers import chat, text_of

SCRIPT = {
    "rules": [
        {"match": "slow", "step_ms": 5},
        {"match": "stall", "stall_at": 2, "stall_ms": 60_000},
        {"match": "read", "prefill_ms_per_row": 1_000},
        {"match": "", "say": "fine"},
    ]
}
PATIENCE_SECONDS = 10.0

Inbox = queue.SimpleQueue[Event]


@pytest.fixture
def worker() -> Iterator[EngineWorker]:
    config = EngineConfig(backend="scripted", chunk_tokens=32)
    worker = EngineWorker(ScriptedBackend(parse_script(json.dumps(SCRIPT)), config, SystemClock()), config)
    before = set(threading.enumerate())
    worker.start()
    yield worker
    worker.close()
    assert set(threading.enumerate()) <= before


def add(worker: EngineWorker, id: str, text: str, max_tokens: int = 100_000) -> Inbox:
    inbox: Inbox = queue.SimpleQueue()
    tokens = worker.backend.tokenizer.encode(chat(text), special=True)
    worker.add(Work(id=id, tokens=tokens, sampling=Sampling(temperature=0), max_tokens=max_tokens), inbox.put)
    return inbox


def until_last(inbox: Inbox) -> list[Event]:
    events = [inbox.get(timeout=PATIENCE_SECONDS)]
    while not isinstance(events[-1], Finish | Failure):
        events.append(inbox.get(timeout=PATIENCE_SECONDS))
    return events


def last_of(inbox: Inbox) -> Event:
    return until_last(inbox)[-1]


def statistics(worker: EngineWorker) -> Statistics:
    answers: queue.SimpleQueue[Statistics] = queue.SimpleQueue()
    worker.ask_statistics(answers.put)
    return answers.get(timeout=PATIENCE_SECONDS)


def test_events_of_each_sequence_go_to_its_own_receiver(worker: EngineWorker) -> None:
    inboxes = [add(worker, str(number), f"go {number}") for number in range(5)]
    for number, inbox in enumerate(inboxes):
        events = until_last(inbox)
        assert {event.id for event in events} == {str(number)}
        assert text_of(events) == "fine"


def test_cancel_in_mid_stream(worker: EngineWorker) -> None:
    inbox = add(worker, "a", "slow")
    assert isinstance(inbox.get(timeout=PATIENCE_SECONDS), Delta)
    worker.cancel("a")
    last = last_of(inbox)
    assert isinstance(last, Finish)
    assert last.reason == "cancelled"
    assert statistics(worker).num_cells_leased == 0


@pytest.mark.parametrize("text", ["stall", "read this long prompt"])
def test_cancel_interrupts_a_step_that_runs_alone(worker: EngineWorker, text: str) -> None:
    """The step would take a minute; the cancelled sequence is gone long before."""
    inbox = add(worker, "a", text)
    if text == "stall":
        assert isinstance(inbox.get(timeout=PATIENCE_SECONDS), Delta)
        assert isinstance(inbox.get(timeout=PATIENCE_SECONDS), Delta)
    while not worker._engine.batch.stepping:
        pass
    worker.cancel("a")
    last = last_of(inbox)
    assert isinstance(last, Finish)
    assert last.reason == "cancelled"
    assert text_of(until_last(add(worker, "b", "go"))) == "fine"


def test_cancel_at_any_moment_ends_the_sequence_once(worker: EngineWorker) -> None:
    """Cancels race with adds and steps; each sequence still gets exactly one last event."""
    inboxes = []
    for number in range(300):
        inboxes.append(add(worker, str(number), "slow" if number % 2 else "go", max_tokens=3))
        worker.cancel(str(number - number % 3))
    for inbox in inboxes:
        assert isinstance(last_of(inbox), Finish)
    assert statistics(worker).num_running == 0
    assert all(inbox.empty() for inbox in inboxes)


def test_the_same_id_again_fails_and_the_first_goes_on(worker: EngineWorker) -> None:
    first = add(worker, "a", "slow", max_tokens=20)
    second = last_of(add(worker, "a", "go"))
    assert isinstance(second, Failure)
    assert second.code == "invalid_value"
    assert isinstance(last_of(first), Finish)
    assert isinstance(last_of(add(worker, "a", "go")), Finish)


def test_cancel_of_what_is_not_there(worker: EngineWorker) -> None:
    worker.cancel("never")
    inbox = add(worker, "never", "go")  # an id that comes later is not cancelled by it
    assert text_of(until_last(inbox)) == "fine"


def test_what_takes_long_once_is_done_when_nothing_else_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "IDLE_SECONDS", 0.2)
    prepared = threading.Event()
    config = EngineConfig(backend="scripted")
    worker = EngineWorker(ScriptedBackend(parse_script(json.dumps(SCRIPT)), config, SystemClock()), config)
    monkeypatch.setattr(worker._engine.grammars, "prepare", prepared.set)
    worker.prepare_when_idle()
    inbox = add(worker, "a", "slow", max_tokens=100)
    worker.start()
    while not isinstance(inbox.get(timeout=PATIENCE_SECONDS), Finish):
        assert not prepared.is_set()
    assert prepared.wait(PATIENCE_SECONDS)
    assert isinstance(add(worker, "b", "hi").get(timeout=PATIENCE_SECONDS), Delta)
    worker.close()


def test_close_ends_in_mid_step(worker: EngineWorker) -> None:
    inbox = add(worker, "a", "read this long prompt")
    while not worker._engine.batch.stepping:
        pass
    worker.close()
    assert reason_of(until_last(inbox)) == "cancelled"


class BrokenBackend(ScriptedBackend):
    """A backend with a bug."""

    def wait(self) -> list[Output]:
        raise ZeroDivisionError("a bug")


def test_a_bug_of_ours_is_logged_and_leaves_nobody_waiting(capsys: pytest.CaptureFixture[str]) -> None:
    config = EngineConfig(backend="scripted")
    crashed = threading.Event()
    worker = EngineWorker(BrokenBackend(parse_script("{}"), config, SystemClock()), config, on_crash=crashed.set)
    worker.start()
    last = last_of(add(worker, "a", "go"))
    assert isinstance(last, Failure)
    assert last.code == "engine_failure"
    assert crashed.is_set()
    worker.close()
    assert "ZeroDivisionError: a bug" in capsys.readouterr().err


def reason_of(events: list[Event]) -> str:
    last = events[-1]
    assert isinstance(last, Finish), last
    return last.reason


def test_a_steer_interrupts_a_prompt_that_is_being_read(worker: EngineWorker) -> None:
    """The running step would take 32 s; what is computed so far stays, the successor takes its place."""
    first = add(worker, "a", "read " + "word " * 200)
    while not worker._engine.batch.stepping:
        pass
    second: Inbox = queue.SimpleQueue()
    tokens = worker.backend.tokenizer.encode("<|end|>" + chat("stop it"), special=True)
    started = time.monotonic()
    worker.steer("a", Work(id="b", tokens=tokens, sampling=Sampling(temperature=0), max_tokens=5), second.put)
    assert reason_of(until_last(first)) == "steered"
    assert time.monotonic() - started < PATIENCE_SECONDS / 2
    worker.cancel("b")
    assert reason_of(until_last(second)) == "cancelled"


def test_a_stream_is_steered_and_rewound(worker: EngineWorker) -> None:
    first, second = add(worker, "a", "slow, please"), queue.SimpleQueue[Event]()
    for _ in range(10):
        first.get(timeout=PATIENCE_SECONDS)
    worker.rewind("a", 3)
    tokens = worker.backend.tokenizer.encode("<|end|>" + chat("fine"), special=True)
    worker.steer("a", Work(id="b", tokens=tokens, sampling=Sampling(temperature=0), max_tokens=50), second.put)
    assert any(isinstance(event, Rewind) for event in until_last(first))
    assert text_of(until_last(second)) == "fine"
    with pytest.raises(ValueError, match="to_token"):
        worker.rewind("a", -1)


def test_prompts_that_are_read_together_are_interrupted_for_one_that_leaves(worker: EngineWorker) -> None:
    """The step of both would take a minute; the one that stays loses a chunk at most and goes on."""
    first, second = add(worker, "a", "read " + "word " * 200), add(worker, "b", "read " + "other " * 200)
    while len(worker._engine.batch.stepping) < 2:
        pass
    started = time.monotonic()
    worker.cancel("a")
    assert reason_of(until_last(first)) == "cancelled"
    assert time.monotonic() - started < PATIENCE_SECONDS / 2
    worker.cancel("b")
    assert reason_of(until_last(second)) == "cancelled"


def test_after_a_crash_everyone_gets_an_answer(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    config = EngineConfig(backend="scripted")
    worker = EngineWorker(ScriptedBackend(parse_script("{}"), config, SystemClock()), config)
    monkeypatch.setattr(worker._engine, "step", lambda: 1 // 0)
    worker.start()
    for id in ("a", "b", "c"):
        inbox = add(worker, id, "hello")
        last = until_last(inbox)[-1]
        assert isinstance(last, Failure)
        worker.cancel(id)
    assert "ZeroDivisionError" in capfd.readouterr().err
