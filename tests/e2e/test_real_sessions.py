"""Sessions on the real default model: forks, blocks, disk, steering and rewinding against computing anew.

Batches of other shapes round differently (law 4), so texts are compared where they begin, not to the last token.
"""

import queue
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from firesteel.backend import open_backend
from firesteel.backend.base import Backend
from firesteel.config import EngineConfig
from firesteel.engine.worker import EngineWorker
from firesteel.models.catalogue import DEFAULT
from firesteel.models.pull import pull
from firesteel.request.chat_template import render, render_tail
from firesteel.types import ChatPrompt, Event, Failure, Finish, Message, Sampling, Work

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]

FILE = "\n".join(f"def function_{i}(x: int) -> int:\n    return x * {i} + {i * 7 % 11}\n" for i in range(40))
QUESTION = Message(role="user", content=f"{FILE}\nExplain what function_7 does, in three sentences.")
Serve = Callable[..., EngineWorker]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRESTEEL_OFFLINE", "")
        return str(pull(DEFAULT))


@pytest.fixture
def serve(path: str) -> Iterator[Serve]:
    """Return a function that opens an engine; the one before it is closed."""
    workers: list[EngineWorker] = []

    def open_worker(**config: object) -> EngineWorker:
        while workers:
            workers.pop().close()
        options = EngineConfig(model=path, context_tokens=4096, **config)  # type: ignore[arg-type]
        workers.append(EngineWorker(open_backend(options), options))
        workers[0].start()
        return workers[0]

    yield open_worker
    while workers:
        workers.pop().close()


def prompt_of(backend: Backend, *messages: Message) -> list[int]:
    return render(ChatPrompt(messages=messages), backend.tokenizer)


def start(worker: EngineWorker, id: str, tokens: list[int], max_tokens: int) -> "queue.SimpleQueue[Event]":
    inbox: queue.SimpleQueue[Event] = queue.SimpleQueue()
    worker.add(Work(id=id, tokens=tokens, sampling=Sampling(temperature=0), max_tokens=max_tokens), inbox.put)
    return inbox


def finish(inbox: "queue.SimpleQueue[Event]") -> Finish:
    while not isinstance(event := inbox.get(timeout=200), Finish | Failure):
        pass
    assert isinstance(event, Finish), event
    return event


def test_a_conversation_comes_back_from_disk_and_says_the_same(serve: Serve, tmp_path: Path) -> None:
    config = {"disk_bytes": 1_000_000_000, "disk_folder": str(tmp_path)}
    worker = serve(**config)
    prompt = prompt_of(worker.backend, QUESTION)
    cold = finish(start(worker, "cold", prompt, 24))
    assert cold.usage.num_cached_tokens < 16
    worker = serve(**config)
    warm = finish(start(worker, "warm", prompt, 24))
    assert warm.usage.num_cached_tokens == len(prompt) - 1
    assert warm.usage.prefill_seconds < cold.usage.prefill_seconds / 5
    assert warm.tokens[:8] == cold.tokens[:8]
    assert serve(cache_bytes=0, **config)  # and a server without a cache starts beside it


def test_two_live_conversations_share_their_prefix(serve: Serve) -> None:
    worker = serve()
    prompts = [prompt_of(worker.backend, QUESTION, Message(role="user", content=text)) for text in ("Hi.", "Thanks!")]
    first, second = (start(worker, str(number), prompt, 16) for number, prompt in enumerate(prompts))
    alone, shared = finish(first), finish(second)
    assert alone.usage.num_cached_tokens < 16
    assert shared.usage.num_cached_tokens >= len(prompts[1]) - 12


def test_steering_computes_the_new_words_only(serve: Serve) -> None:
    worker = serve()
    prompt = prompt_of(worker.backend, QUESTION)
    first = start(worker, "a", prompt, 300)
    while not getattr(first.get(timeout=200), "text", ""):
        pass
    answer: queue.SimpleQueue[Event] = queue.SimpleQueue()
    new = Message(role="user", content="Stop. Instead, say only the word BANANA.")
    tail = render_tail((QUESTION, Message(role="assistant"), new), (), worker.backend.tokenizer)
    worker.steer("a", Work(id="b", tokens=tail, sampling=Sampling(temperature=0), max_tokens=8), answer.put)
    before, after = finish(first), finish(answer)
    assert before.reason == "steered"
    assert after.usage.num_prompt_tokens - after.usage.num_cached_tokens <= len(tail) + 1
    anew = finish(start(serve(cache_bytes=0), "c", [*prompt, *before.tokens, *tail], 8))
    assert after.tokens[:4] == anew.tokens[:4]


def test_a_rewound_answer_takes_another_way(serve: Serve) -> None:
    worker = serve()
    prompt = prompt_of(worker.backend, Message(role="user", content="Count from 1 to 20, separated by commas."))
    plain = finish(start(worker, "plain", prompt, 24)).tokens
    inbox = start(worker, "a", prompt, 24)
    num_said = 0
    while num_said < 12:
        num_said += getattr(inbox.get(timeout=200), "num_tokens", 0)
    worker.rewind("a", 6, (plain[6],))
    rewound = finish(inbox)
    assert rewound.tokens[:6] == plain[:6]
    assert rewound.tokens[6] != plain[6]
    assert rewound.usage.num_rewound_tokens >= 6
