"""Drives an in-process engine on the scripted backend, step by step."""

import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, ClassVar

import pytest

from firesteel.backend.scripted import ScriptedBackend, parse_script
from firesteel.clock import ManualClock
from firesteel.config import EngineConfig
from firesteel.engine import residence, schedule
from firesteel.engine.kv import prefix, warm
from firesteel.engine.kv.warm import BlockCache
from firesteel.engine.loop import Engine
from firesteel.guard.answer import open_guard
from firesteel.types import Delta, Event, Failure, Finish, Sampling, Work

GREEDY = Sampling(temperature=0.0)


class Bench:
    """An engine, its scripted backend, and every event it emitted, by sequence id."""

    made: ClassVar[list["Bench"]] = []  # closed after each test, see conftest.py

    def __init__(self, script: str = "{}", *, can_trim: bool = True, **config: Any) -> None:
        self.config = EngineConfig(backend="scripted", **config)
        self.clock = ManualClock()
        self.backend = ScriptedBackend(parse_script(script), self.config, self.clock, can_trim=can_trim)
        self.events: dict[str, list[Event]] = defaultdict(list)
        self.engine = Engine(
            self.backend, self.config, lambda e: self.events[e.id].append(e), self.clock, open_guard=open_guard
        )
        if self.config.disk_bytes:
            self.made.append(self)

    def encode(self, text: str) -> list[int]:
        return self.backend.tokenizer.encode(text, special=True)

    def add(self, id: str, prompt: str | list[int], max_tokens: int = 32, **work: Any) -> None:
        self.engine.add(self.work(id, prompt, max_tokens, **work))

    def work(self, id: str, prompt: str | list[int], max_tokens: int = 32, **work: Any) -> Work:
        tokens = self.encode(prompt) if isinstance(prompt, str) else prompt
        sampling = work.pop("sampling", GREEDY)
        return Work(id=id, tokens=tokens, sampling=sampling, max_tokens=max_tokens, **work)

    def run(self, max_steps: int = 100_000) -> None:
        for _ in range(max_steps):
            if not self.engine.step():
                if not any(sequence.is_fetching for sequence in self.engine.scheduler.waiting):
                    return
                time.sleep(0.0005)  # the disk has a thread of its own
            self.check_accounts()
        raise AssertionError("the engine did not come to rest")

    def settle(self) -> None:
        """Wait until the disk's thread has nothing to do, so that what comes next does not depend on it."""
        disk = getattr(self.engine.warm, "_disk", None)
        if disk is not None:
            assert disk.flush(30)

    def run_until(self, id: str, num_output: int) -> None:
        """Step until `id` has said so many tokens."""
        while self.engine._sequences[id].num_output < num_output:
            assert self.engine.step()

    def check_accounts(self) -> None:
        """Law 3, while running: what the ledger says is what the backend holds."""
        scheduler = self.engine.scheduler
        cells = scheduler.residence.cells
        assert cells.num_leased == self.backend.used_cells()
        assert cells.num_free + cells.num_leased == cells.total
        for sequence in scheduler.running:
            assert self.backend.tokens(sequence.slot) == sequence.tokens[: sequence.num_computed]

    def check_rest(self) -> None:
        """Law 3, at rest: nothing is leased, nothing is held by the backend."""
        scheduler = self.engine.scheduler
        assert not scheduler.running
        assert not scheduler.waiting
        assert scheduler.residence.cells.num_leased == 0
        assert self.backend.used_cells() == 0
        self.check_warm()

    def check_warm(self) -> None:
        """What the warm KV says of itself is what it holds; nothing is leased, no prefix has a hole."""
        cache = self.engine.warm
        if not isinstance(cache, BlockCache):
            return
        blocks = list(cache.tree.blocks())
        resting = [block for block in blocks if block.state is not None]
        assert cache.num_bytes == sum(block.num_bytes for block in resting) <= cache.tree.max_bytes
        assert cache.num_tokens == sum(len(block.tokens) for block in resting)
        for block in blocks:
            assert block.num_leases == 0
            assert block.is_ghost == (block in cache.tree._ghosts)
            assert block.parent is not None
            assert block.state is None or block.parent.parent is None or not block.parent.is_ghost
            children = [child for children in block.children.values() for child in children]
            assert block.num_host_children == sum(child.state is not None for child in children)
            assert block.is_full or not children

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


def small_blocks(patch: pytest.MonkeyPatch, num_tokens: int) -> None:
    """Make prefixes share blocks of `num_tokens`, so that short prompts have several."""
    for module in (prefix, residence, schedule, warm):
        patch.setattr(module, "BLOCK_TOKENS", num_tokens)


def text_of(events: Iterable[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


def chat(text: str) -> str:
    return f"<|user|>{text}<|end|><|assistant|>"
