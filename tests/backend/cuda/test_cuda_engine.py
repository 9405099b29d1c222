"""The engine on the CUDA backend: drafting, sampling, rewinding and sharing there change no text."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from firesteel.config import DRAFTERS, EngineConfig
from firesteel.engine.loop import Engine
from firesteel.types import Event, Failure, Finish, Sampling, Work
from tests.backend.cuda.running import SMALL, open_cuda
from tests.backend.native.models import TOKENS, model

GREEDY = Sampling(temperature=0.0)
SAMPLED = Sampling(temperature=0.9, top_p=0.95, seed=11)


class Bench:
    """An engine on a tiny model, and what it said."""

    def __init__(self, path: Path, **config: Any) -> None:
        self.backend = open_cuda(path, **config)
        self.events: dict[str, list[Event]] = defaultdict(list)
        settings = EngineConfig(backend="cuda", model=str(path), cache_bytes=1 << 24, **config)
        self.engine = Engine(self.backend, settings, lambda event: self.events[event.id].append(event))

    def add(self, id: str, tokens: list[int], **work: Any) -> None:
        given: dict[str, Any] = {"sampling": GREEDY, "max_tokens": 60} | work
        self.engine.add(Work(id=id, tokens=tokens, **given))

    def run(self) -> None:
        while self.engine.step():
            pass

    def said(self, id: str) -> list[int]:
        last = self.events[id][-1]
        assert not isinstance(last, Failure), last
        assert isinstance(last, Finish)
        return last.tokens

    def close(self) -> None:
        total = self.backend._pages.num_free
        self.engine.close()
        assert total == len(self.backend._pages._owners) - 1, "pages are left over"


@pytest.fixture(scope="module")
def path(folder: Path) -> Path:
    return model(folder, "qwen2", "f16", sizes=SMALL)


def answers(path: Path, prediction: list[int], drafters: tuple[Any, ...]) -> tuple[list[list[int]], int]:
    bench = Bench(path, drafters=drafters)
    for index, sampling in enumerate((GREEDY, SAMPLED, GREEDY)):
        bench.add(str(index), TOKENS[index * 40 : index * 40 + 30], sampling=sampling, prediction=prediction)
    bench.run()
    found, num_steps = [bench.said(str(index)) for index in range(3)], bench.engine.statistics().num_steps
    bench.close()
    return found, num_steps


def test_drafts_on_the_device_change_no_text(path: Path) -> None:
    expected, _ = answers(path, [], ())
    assert len(expected[0]) >= 20  # others may have come to an end
    assert answers(path, [], DRAFTERS)[0] == expected
    found, num_steps = answers(path, expected[0], DRAFTERS)
    assert found == expected
    assert answers(path, expected[0], ())[0] == expected
    assert num_steps < max(map(len, expected)) / 2


def test_a_rewind_takes_back_and_goes_on(path: Path) -> None:
    bench = Bench(path)
    bench.add("whole", TOKENS[:30])
    bench.run()
    expected = bench.said("whole")
    bench.add("rewound", TOKENS[:30], prediction=expected)
    while bench.engine._sequences["rewound"].num_output < 20:
        assert bench.engine.step()
    bench.engine.rewind("rewound", 10)
    bench.run()
    assert bench.said("rewound") == expected
    bench.close()


def test_a_follow_up_finds_its_history_warm(path: Path) -> None:
    """Through host memory: saved when it ended, loaded again, and the same as if computed."""
    tokens = (TOKENS * 2)[:600]
    cold = Bench(path)
    cold.add("cold", tokens)
    cold.run()
    expected = cold.said("cold")
    cold.close()
    warm = Bench(path)
    warm.add("first", tokens[:560], max_tokens=1)
    warm.run()
    warm.add("second", tokens)
    warm.run()
    last = warm.events["second"][-1]
    assert isinstance(last, Finish)
    assert last.usage.num_cached_tokens >= 512
    assert last.tokens == expected
    warm.close()
