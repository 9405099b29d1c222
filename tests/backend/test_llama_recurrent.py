"""Models that cannot trim: recurrent states and sliding windows. Warm state is whole or it is not used."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from firesteel.backend import open_backend
from firesteel.backend.base import Backend, Rows, Want
from firesteel.clock import SystemClock
from firesteel.config import EngineConfig
from firesteel.engine.loop import Engine
from firesteel.types import Event, Finish, Sampling, Work
from tests.backend import tiny_models

TOKENS = [(index * 89 + index // 7) % 256 for index in range(400)]
CACHE = 64 << 20


def config(path: Path, cache_bytes: int) -> EngineConfig:
    return EngineConfig(model=str(path), num_threads=1, max_live=4, context_tokens=2048, cache_bytes=cache_bytes)


@pytest.fixture(scope="module", params=[tiny_models.recurrent, tiny_models.windowed])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    make: Callable[[Path], Path] = request.param
    return make(tmp_path_factory.mktemp("recurrent") / "tiny.gguf")


@pytest.fixture
def backend(path: Path) -> Iterator[Backend]:
    opened = open_backend(config(path, 0))
    yield opened
    opened.close()


def compute(backend: Backend, sequence: int, tokens: list[int], position: int = 0) -> npt.NDArray[np.float32]:
    for start in range(0, len(tokens), 64):
        backend.submit([Rows(sequence, position + start, tokens[start : start + 64], Want.LOGITS)])
        (output,) = backend.wait()
    return output.logits[0].copy()


def test_the_capabilities_say_so(backend: Backend) -> None:
    capabilities = backend.capabilities
    assert not any((capabilities.can_trim, capabilities.can_fork, capabilities.can_abort))


def test_whole_states_come_back(backend: Backend) -> None:
    """Exactly where there is one state; with windows cells lie in another order, and new KV is rounded to f16."""
    compute(backend, 0, TOKENS[:200])
    state = bytes(backend.save(0))
    expected = compute(backend, 0, TOKENS[200:230], 200)
    backend.trim(0, 0)
    for sequence in (3, 0):
        assert backend.load(sequence, state)
        found = compute(backend, sequence, TOKENS[200:230], 200)
        assert np.allclose(found, expected, atol=2e-3)
        assert np.array_equal(found, expected) or backend.info.architecture == "gemma3"


def test_parts_are_refused(backend: Backend) -> None:
    compute(backend, 0, TOKENS[:100])
    with pytest.raises(AssertionError, match="only be saved whole"):
        backend.save(0, 10)
    state = backend.save(0)
    with pytest.raises(AssertionError, match="only into empty ones"):
        backend.load(0, state)
    assert not backend.load(1, bytes(state)[:-1])
    assert len(np.frombuffer(backend.save(1), np.uint8)) < len(state)


class Run:
    """An engine on one of these models, stepped by hand."""

    def __init__(self, path: Path, cache_bytes: int) -> None:
        self.backend = open_backend(config(path, cache_bytes))
        self.events: dict[str, list[Event]] = defaultdict(list)
        emit: Callable[[Event], None] = lambda event: self.events[event.id].append(event)  # noqa: E731
        self.engine = Engine(self.backend, config(path, cache_bytes), emit, SystemClock())

    def add(self, id: str, tokens: list[int], max_tokens: int = 24) -> None:
        self.engine.add(Work(id=id, tokens=tokens, sampling=Sampling(temperature=0.0), max_tokens=max_tokens))

    def finish(self, id: str) -> Finish:
        while self.engine.step():
            pass
        last = self.events[id][-1]
        assert isinstance(last, Finish), last
        return last


def conversation(path: Path, cache_bytes: int) -> tuple[list[list[int]], int]:
    """Ask, be cancelled, follow up twice, one follow-up cancelled; return the answers and the cached tokens."""
    run = Run(path, cache_bytes)
    run.add("a", TOKENS[:150])
    first = run.finish("a").tokens
    run.add("b", TOKENS[:150] + first + TOKENS[200:240], max_tokens=400)
    for _ in range(8):
        run.engine.step()
    run.engine.cancel("b")
    run.finish("b")
    answers, cached = [first], 0
    for id, more in (("c", TOKENS[200:240]), ("d", TOKENS[200:260]), ("e", [])):
        run.add(id, TOKENS[:150] + first + more)
        finish = run.finish(id)
        answers.append(finish.tokens)
        cached += finish.usage.num_cached_tokens
    run.backend.close()
    return answers, cached


def test_warm_answers_are_the_cold_ones(path: Path) -> None:
    cold, computed = conversation(path, 0)
    warm, reused = conversation(path, CACHE)
    assert all(len(answer) == 24 for answer in cold)
    assert warm == cold
    assert computed == 0
    assert reused > 0
