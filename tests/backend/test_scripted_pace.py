"""Delays, stalls, failures, crashes and aborts, on a clock that moves by hand."""

import signal
import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firesteel.backend.base import Aborted, Rows, Want
from firesteel.backend.scripted import Rule, Script, ScriptedBackend
from firesteel.clock import ManualClock
from firesteel.config import EngineConfig
from firesteel.errors import EngineFailure
from tests.backend.test_scripted_backend import CHAT, compute, encode, generate


class CallingClock(ManualClock):
    """A manual clock on which something else happens while someone sleeps."""

    def __init__(self) -> None:
        super().__init__()
        self.while_sleeping: Callable[[], object] = lambda: None

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self.while_sleeping()


def paced(script: Script) -> tuple[ScriptedBackend, CallingClock]:
    clock = CallingClock()
    return ScriptedBackend(script, EngineConfig(max_live=4), clock), clock


def test_a_step_takes_its_time_and_a_batch_no_longer_than_its_slowest() -> None:
    rules = (Rule(match="slow", step_ms=30), Rule(match="quick", step_ms=5))
    backend, clock = paced(Script(rules=rules))
    batch = [
        Rows(sequence, 0, encode(backend, f"<|user|>{text}<|end|><|assistant|>"), Want.BEST, 4096)
        for sequence, text in enumerate(("slow", "quick", "other"))
    ]
    backend.submit(batch)
    backend.wait()
    assert clock.now() == pytest.approx(0.030)
    assert backend.native_seconds == pytest.approx(0.030)
    compute(backend, 1, [50])
    assert clock.now() == pytest.approx(0.035)
    compute(backend, 2, [50])
    assert clock.now() == pytest.approx(0.035)


def test_a_prompt_takes_time_by_the_row_in_every_chunk() -> None:
    rules = (Rule(match="slow", prefill_ms_per_row=2),)
    backend, clock = paced(Script(prefill_ms_per_row=0.5, rules=rules))
    prompt = encode(backend, "<|system|>" + "word " * 30 + "<|user|>slow and long<|end|><|assistant|>")
    user = prompt.index(encode(backend, "<|user|>")[0])
    compute(backend, 0, prompt[:user], Want.NONE)
    assert clock.now() == pytest.approx(user * 0.0005)
    compute(backend, 0, prompt[user:])
    assert clock.now() == pytest.approx(user * 0.0005 + (len(prompt) - user) * 0.002)


def test_a_stall_delays_one_token_of_the_reply() -> None:
    backend, clock = paced(Script(rules=(Rule(stall_at=3, stall_ms=500, tokens_per_step=8),)))
    first = generate(backend, encode(backend, CHAT), 1)
    assert len(first) == 3  # the step ends before the stall
    assert clock.now() == 0
    assert len(compute(backend, 0, first[-1:])) == 8
    assert clock.now() == pytest.approx(0.5)


@given(st.integers(0, 20), st.integers(1, 8))
def test_a_failure_comes_at_its_token_and_leaves_the_kv_alone(at: int, k: int) -> None:
    backend, _ = paced(Script(tokens_per_step=k, rules=(Rule(fail_at=at),)))
    prompt = encode(backend, CHAT)
    said: list[int] = []
    while len(said) < at:
        said += compute(backend, 0, said[-1:] or prompt)
    assert len(said) == at
    with pytest.raises(EngineFailure, match=f"at token {at}"):
        compute(backend, 0, said[-1:] or prompt)
    assert backend.tokens(0) == (prompt + said)[:-1] if said else backend.tokens(0) == []
    assert backend.used_cells() == len(backend.tokens(0))


def test_hash_replies_fail_at_their_token_too() -> None:
    backend, _ = paced(Script(rules=(Rule(mode="hash", fail_at=2),)))
    with pytest.raises(EngineFailure, match="at token 2"):
        generate(backend, encode(backend, CHAT), 5)


def test_abort_interrupts_a_step_at_once_and_leaves_the_kv_alone() -> None:
    backend, clock = paced(Script(step_ms=10_000))
    held = encode(backend, CHAT)
    compute(backend, 0, held, Want.NONE)
    clock.while_sleeping = backend.abort
    backend.submit([Rows(0, len(held), [50, 51], Want.BEST, 4096), Rows(1, 0, [60], Want.BEST, 4096)])
    with pytest.raises(Aborted):
        backend.wait()
    assert clock.now() < 0.01
    assert (backend.tokens(0), backend.tokens(1)) == (held, [])
    clock.while_sleeping = lambda: None
    compute(backend, 0, [50, 51])  # the abort is spent
    assert backend.tokens(0)[: len(held) + 2] == [*held, 50, 51]


def test_abort_between_submit_and_wait_counts_and_without_a_batch_does_not() -> None:
    backend, _ = paced(Script())
    backend.abort()
    compute(backend, 0, [50])
    backend.submit([Rows(0, 1, [51], Want.BEST, 4096)])
    backend.abort()
    with pytest.raises(Aborted):
        backend.wait()
    assert backend.tokens(0) == [50]


@given(st.integers(1, 12), st.integers(0, 30))
def test_pace_does_not_change_what_is_said(k: int, stall_at: int) -> None:
    free, _ = paced(Script())
    slow, _ = paced(
        Script(step_ms=1, prefill_ms_per_row=1, rules=(Rule(tokens_per_step=k, stall_at=stall_at, stall_ms=9),))
    )
    prompt = encode(free, CHAT)
    assert generate(slow, prompt, 60)[:60] == generate(free, prompt, 60)


def test_a_crash_kills_the_process() -> None:
    code = """
from firesteel.backend.base import Rows, Want
from firesteel.backend.scripted import Rule, Script, ScriptedBackend
from firesteel.clock import SystemClock
from firesteel.config import EngineConfig
backend = ScriptedBackend(Script(rules=(Rule(crash_at=1),)), EngineConfig(), SystemClock())
for position in range(2):
    print(position, flush=True)
    backend.submit([Rows(0, position, [backend.tokenizer.encode("def ", special=False)[0]], Want.BEST)])
    backend.wait()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert done.stdout.startswith("0\n")
