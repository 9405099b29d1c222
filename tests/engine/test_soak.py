"""A soak of mixed requests on the engine's own thread: cancels, rewinds, steers, forks and preemptions at random."""

import json
import queue
import random
import threading
import time
from pathlib import Path

from firesteel.backend.scripted import ScriptedBackend, parse_script
from firesteel.clock import SystemClock
from firesteel.config import EngineConfig
from firesteel.engine.kv.warm import BlockCache
from firesteel.engine.worker import EngineWorker
from firesteel.types import Event, Failure, Finish, Sampling, Work

SCRIPT = json.dumps({"rules": [{"match": "", "mode": "hash", "tokens_per_step": 3}]})
NUM_CLIENTS = 6
NUM_TURNS = 25
FAMILIES = [[random.Random(family).randrange(20, 250) for _ in range(900)] for family in range(3)]


class Client(threading.Thread):
    """Sends turns of one conversation after the other and does to each what an impatient user does."""

    def __init__(self, worker: EngineWorker, number: int) -> None:
        super().__init__(name=f"client-{number}")
        self.worker = worker
        self.number = number
        self.chooser = random.Random(number)
        self.num_ended = 0
        self.problems: list[str] = []

    def run(self) -> None:
        for turn in range(NUM_TURNS):
            self.turn(f"{self.number}.{turn}")

    def turn(self, id: str) -> None:
        chooser = self.chooser
        prompt = [*chooser.choice(FAMILIES)[: chooser.randrange(1, 900)], *(chooser.randrange(20, 250) for _ in "abc")]
        inbox: queue.SimpleQueue[Event] = queue.SimpleQueue()
        sampling = Sampling(temperature=chooser.choice([0, 1.0]), seed=1)
        work = Work(
            id=id, tokens=prompt, sampling=sampling, max_tokens=chooser.randrange(0, 200), scope=str(self.number % 2)
        )
        self.worker.add(work, inbox.put)
        num_open = 1
        for act in range(chooser.randrange(4)):
            time.sleep(chooser.random() * 0.01)
            what = chooser.random()
            if what < 0.3:
                self.worker.cancel(id)
            elif what < 0.6:
                self.worker.rewind(id, chooser.randrange(60), (21, 22), tuple(chooser.choices(range(20, 250), k=act)))
            else:
                successor = f"{id}+{act}"
                tokens = [chooser.randrange(20, 250) for _ in range(5)]
                self.worker.steer(id, Work(id=successor, tokens=tokens, sampling=sampling, max_tokens=50), inbox.put)
                id, num_open = successor, num_open + 1
        while num_open:
            event = inbox.get(timeout=60)
            if isinstance(event, Finish | Failure):
                num_open -= 1
                self.num_ended += 1
            if isinstance(event, Failure) and event.code not in ("not_running", "context_length_exceeded"):
                self.problems.append(event.message)


def test_every_block_is_accounted_for_at_the_end(tmp_path: Path) -> None:
    config = EngineConfig(
        backend="scripted",
        context_tokens=2_500,
        max_live=4,
        chunk_tokens=64,
        cache_bytes=2_000 * 64,
        disk_bytes=400_000,
        disk_folder=str(tmp_path),
    )
    before = set(threading.enumerate())
    backend = ScriptedBackend(parse_script(SCRIPT), config, SystemClock())
    crashed = threading.Event()
    worker = EngineWorker(backend, config, on_crash=crashed.set)
    worker.start()
    clients = [Client(worker, number) for number in range(NUM_CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join(120)
    assert not crashed.is_set()
    assert [problem for client in clients for problem in client.problems] == []
    assert all(client.num_ended >= NUM_TURNS for client in clients)
    deadline = time.monotonic() + 10  # an end is told before its KV is saved (decision 34)
    while worker._engine.scheduler.residence.running and time.monotonic() < deadline:
        time.sleep(0.01)
    check(worker, backend)
    worker.close()
    assert set(threading.enumerate()) <= before


def check(worker: EngineWorker, backend: ScriptedBackend) -> None:
    """Free + leased = all, nothing leased; what rests is counted, and no prefix has a hole."""
    engine = worker._engine
    residence = engine.scheduler.residence
    assert not residence.running
    assert not engine.scheduler.waiting
    assert (residence.cells.num_leased, residence.cells.num_free) == (0, 2_500)
    assert backend.used_cells() == 0
    warm = engine.warm
    assert isinstance(warm, BlockCache)
    blocks = list(warm.tree.blocks())
    assert warm.num_bytes == sum(block.num_bytes for block in blocks if block.state is not None)
    assert warm.num_bytes <= warm.tree.max_bytes
    for block in blocks:
        assert block.num_leases == 0
        assert block.is_ghost == (block in warm.tree._ghosts)
        assert block.parent is not None
        assert block.state is None or block.parent.parent is None or not block.parent.is_ghost
