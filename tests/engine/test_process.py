"""The engine's child process, seen from the event loop that supervises it."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from firesteel.config import EngineConfig
from firesteel.engine.process import EngineProcess
from firesteel.errors import ModelError
from firesteel.types import Event, Failure, Finish, Sampling, Work
from tests.engine.helpers import chat, text_of

PROMPT = list(range(20, 60))
SCRIPT = {"step_ms": 5, "rules": [{"match": "stall", "stall_at": 0, "stall_ms": 60_000}, {"match": ""}]}


def engine_processes() -> list[psutil.Process]:
    """Return this process's own children that run an engine; a server of other tests has its engine below it."""
    return [child for child in psutil.Process().children() if "firesteel.child" in child.cmdline()]


class Receiver:
    """Collects the events of one sequence."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.arrived = asyncio.Event()
        self.ended = asyncio.Event()

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self.arrived.set()
        if isinstance(event, Finish | Failure):
            self.ended.set()

    async def last(self) -> Event:
        await asyncio.wait_for(self.ended.wait(), 10)
        return self.events[-1]


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[EngineProcess]:
    script = tmp_path / "script.json"
    script.write_text(json.dumps(SCRIPT))
    engine = EngineProcess(EngineConfig(backend="scripted", script=str(script)))
    await engine.start()
    await engine.wait_ready()
    yield engine
    await engine.close()
    assert not engine_processes()


def add(engine: EngineProcess, id: str, max_tokens: int = 5, tokens: list[int] | None = None) -> Receiver:
    receiver = Receiver()
    work = Work(id=id, tokens=tokens or PROMPT, sampling=Sampling(temperature=0), max_tokens=max_tokens)
    engine.add(work, receiver)
    return receiver


async def test_sequences_run_beside_one_another(engine: EngineProcess) -> None:
    receivers = [add(engine, str(number), max_tokens=5 + number) for number in range(4)]
    for number, receiver in enumerate(receivers):
        last = await receiver.last()
        assert isinstance(last, Finish)
        assert last.usage.num_output_tokens == 5 + number
    assert text_of(receivers[3].events).startswith(text_of(receivers[0].events))
    assert not engine._delivers


async def test_cancel(engine: EngineProcess) -> None:
    receiver = add(engine, "a", max_tokens=100_000)
    await asyncio.wait_for(receiver.arrived.wait(), 10)
    engine.cancel("a")
    engine.cancel("never")
    last = await receiver.last()
    assert isinstance(last, Finish)
    assert last.reason == "cancelled"
    found = await engine.statistics()
    assert found is not None
    assert found.num_running == 0


async def test_a_crash_fails_what_lives_and_a_new_child_starts(engine: EngineProcess) -> None:
    receivers = [add(engine, str(number), max_tokens=100_000) for number in range(3)]
    await asyncio.wait_for(receivers[0].arrived.wait(), 10)
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGSEGV)
    for receiver in receivers:
        last = await receiver.last()
        assert isinstance(last, Failure)
        assert last.code == "engine_crashed"
    refused = await add(engine, "b").last()
    assert isinstance(refused, Failure)
    assert refused.code == "server_not_ready"
    while engine.ready is None:
        await asyncio.sleep(0.01)
    assert engine.num_restarts == 1
    assert isinstance(await add(engine, "c").last(), Finish)


async def test_who_asks_for_statistics_may_give_up(engine: EngineProcess) -> None:
    asking = asyncio.create_task(engine.statistics())
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert await asyncio.wait_for(engine.statistics(), 10) is not None


async def test_who_asks_for_statistics_of_a_dying_child_gets_none(engine: EngineProcess) -> None:
    stalled = engine_tokens("stall")
    add(engine, "a", tokens=stalled)
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGSTOP)  # before it can answer
    asking = asyncio.create_task(engine.statistics())
    given_up = asyncio.create_task(engine.statistics())
    await asyncio.sleep(0)
    given_up.cancel()
    os.kill(engine.pid, signal.SIGKILL)
    assert await asyncio.wait_for(asking, 10) is None


def engine_tokens(text: str) -> list[int]:
    from firesteel.backend.scripted import ScriptedTokenizer

    return ScriptedTokenizer().encode(chat(text), special=True)


async def test_a_model_that_cannot_be_loaded(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(b"GGUF")
    engine = EngineProcess(EngineConfig(backend="llamacpp", model=str(damaged)))
    await engine.start()
    with pytest.raises(ModelError, match="damaged"):
        await asyncio.wait_for(engine.wait_ready(), 30)
    await engine.close()
    assert not engine_processes()


async def test_close_while_loading_and_before_the_start_leave_nothing() -> None:
    loading = EngineProcess(EngineConfig(backend="scripted"))
    await loading.start()
    await asyncio.sleep(0.05)
    await loading.close()
    await EngineProcess(EngineConfig(backend="scripted")).close()
    assert not engine_processes()


async def test_close_does_not_wait_for_a_restart(engine: EngineProcess) -> None:
    for _ in range(2):
        while engine.ready is None:
            await asyncio.sleep(0.01)
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
        while engine.ready is not None:
            await asyncio.sleep(0.01)
    await asyncio.wait_for(engine.close(), 5)


async def test_what_is_warm_reaches_the_disk_before_the_process_ends(tmp_path: Path) -> None:
    config = EngineConfig(backend="scripted", disk_bytes=10_000_000, disk_folder=str(tmp_path))
    prompt = PROMPT * 100
    for expected in (0, len(prompt) - 1):
        engine = EngineProcess(config)
        await engine.start()
        await engine.wait_ready()
        last = await add(engine, "a", tokens=prompt).last()
        assert isinstance(last, Finish)
        assert last.usage.num_cached_tokens == expected
        await engine.close()
        assert not engine_processes()


async def test_a_kill_loses_no_more_than_what_was_on_its_way(tmp_path: Path) -> None:
    """SIGKILL in the middle of an answer: the prompt's full blocks are on disk, none is damaged."""
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"step_ms": 5}))
    config = EngineConfig(
        backend="scripted", script=str(script), disk_bytes=10_000_000, disk_folder=str(tmp_path / "kv")
    )
    prompt = PROMPT * 100
    engine = EngineProcess(config)
    await engine.start()
    await engine.wait_ready()
    receiver = add(engine, "a", max_tokens=100_000, tokens=prompt)
    await asyncio.wait_for(receiver.arrived.wait(), 10)
    while len(list((tmp_path / "kv").rglob("*.kv"))) < len(prompt) // 256:
        await asyncio.sleep(0.01)
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGKILL)
    assert isinstance(await receiver.last(), Failure)
    while engine.ready is None:
        await asyncio.sleep(0.01)
    last = await add(engine, "b", tokens=prompt).last()
    assert isinstance(last, Finish)
    assert last.usage.num_cached_tokens >= len(prompt) // 256 * 256
    await engine.close()


async def test_steer_and_rewind_cross_the_socket(engine: EngineProcess) -> None:
    first, second = add(engine, "a", max_tokens=100_000), Receiver()
    await asyncio.wait_for(first.arrived.wait(), 10)
    engine.rewind("a", 0)
    engine.steer("a", Work(id="b", tokens=[30, 31], sampling=Sampling(temperature=0), max_tokens=4), second)
    ended, after = await first.last(), await second.last()
    assert isinstance(ended, Finish)
    assert ended.reason == "steered"
    assert isinstance(after, Finish)
    assert after.usage.num_cached_tokens >= len(PROMPT) - 1
    assert after.usage.num_prompt_tokens == len(PROMPT) + len(ended.tokens) + 2
