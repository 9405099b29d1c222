"""Drives an in-process engine on the scripted backend, step by step."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from firesteel.backend.scripted import ScriptedBackend, parse_script
from firesteel.clock import ManualClock
from firesteel.config import EngineConfig
from firesteel.engine.loop import Engine
from firesteel.types import Delta, Event, Failure, Finish, Sampling, Work

GREEDY = Sampling(temperature=0.0)


class Bench:
    """An engine, its scripted backend, and every event it emitted, by sequence id."""

    def __init__(self, script: str = "{}", **config: Any) -> None:
        self.config = EngineConfig(backend="scripted", **config)
        self.clock = ManualClock()
        self.backend = ScriptedBackend(parse_script(script), self.config, self.clock)
        self.events: dict[str, list[Event]] = defaultdict(list)
        self.engine = Engine(self.backend, self.config, lambda e: self.events[e.id].append(e), self.clock)

    def encode(self, text: str) -> list[int]:
        return self.backend.tokenizer.encode(text, special=True)

    def add(self, id: str, prompt: str | list[int], max_tokens: int = 32, **work: Any) -> None:
        tokens = self.encode(prompt) if isinstance(prompt, str) else prompt
        sampling = work.pop("sampling", GREEDY)
        self.engine.add(Work(id=id, tokens=tokens, sampling=sampling, max_tokens=max_tokens, **work))

    def run(self, max_steps: int = 100_000) -> None:
        for _ in range(max_steps):
            if not self.engine.step():
                return
            self.check_accounts()
        raise AssertionError("the engine did not come to rest")

    def check_accounts(self) -> None:
        """Law 3, while running: what the ledger says is what the backend holds."""
        scheduler = self.engine.scheduler
        computed = sum(sequence.num_computed for sequence in scheduler.running)
        assert scheduler.cells.num_leased == computed
        assert scheduler.cells.num_free + scheduler.cells.num_leased == scheduler.cells.total
        for sequence in scheduler.running:
            assert self.backend.tokens(sequence.slot) == sequence.tokens[: sequence.num_computed]

    def check_rest(self) -> None:
        """Law 3, at rest: nothing is leased, nothing is held by the backend."""
        scheduler = self.engine.scheduler
        assert not scheduler.running
        assert not scheduler.waiting
        assert scheduler.cells.num_leased == 0
        assert self.backend.used_cells() == 0
        entries = scheduler.host._entries.values()
        assert scheduler.host.num_bytes == sum(entry.num_bytes for entry in entries)

    def text(self, id: str) -> str:
        return text_of(self.events[id])

    def finish(self, id: str) -> Finish:
        last = self.events[id][-1]
        assert isinstance(last, Finish), last
        return last

    def failure(self, id: str) -> Failure:
        last = self.events[id][-1]
        assert isinstance(last, Failure), last
        return last


def text_of(events: Iterable[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


def chat(text: str) -> str:
    return f"<|user|>{text}<|end|><|assistant|>"
