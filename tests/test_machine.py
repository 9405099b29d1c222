import os
from pathlib import Path

import pytest

from firesteel import machine
from firesteel.machine import Cache

LEVELS = (Cache("L1", 64), Cache("L2", 1024), Cache("L3", 32768))


def test_description_is_plausible() -> None:
    found = machine.describe()
    assert 1 <= found.num_cores <= (os.cpu_count() or 1)
    assert found.memory_bytes > 1 << 28
    assert found.cache_bytes > 1 << 18
    assert found.processor


def test_processors_of_one_name_are_told_apart() -> None:
    fields = {"model name": "AMD EPYC", "cpu family": "26", "model": "2"}
    assert machine.processor_name(fields) == "AMD EPYC (family 26, model 2)"
    assert machine.processor_name({"model name": "Some CPU"}) == "Some CPU"
    assert machine.processor_name({})


def test_peaks_are_of_the_right_order() -> None:
    # From a slow board to a server with HBM: outside of this, the unit or the measurement is wrong.
    assert 5e8 < machine.read_bandwidth(1, runs=1) < 5e12
    assert 5e8 < machine.read_bandwidth(2, size=1 << 20, runs=1) < 5e13
    assert 1e8 < machine.matrix_rate(runs=1) < 1e14


def test_best_seconds_is_the_shortest_after_the_cold_run() -> None:
    calls: list[int] = []
    assert machine.best_seconds(lambda: calls.append(1), 3) >= 0
    assert len(calls) == 4


def test_a_cache_reads_as_fast_as_its_bytes_and_not_as_its_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many passes over a small buffer count as so many bytes; a buffer larger than memory allows is cut."""
    monkeypatch.setattr(machine, "best_seconds", lambda work, runs: work() and 1.0)
    assert machine.read_bandwidth(1, size=1 << 20) == machine.PASS_BYTES
    assert machine.read_bandwidth(2, size=machine.PASS_BYTES * 2) == machine.PASS_BYTES * 2
    monkeypatch.setattr(machine, "memory_bytes", lambda: 1 << 30)
    assert machine.read_bandwidth(1, size=1 << 40) == 1 << 27


def sysfs(folder: Path, *caches: tuple[str, str, str, str]) -> None:
    for index, values in enumerate(caches):
        where = folder / f"index{index}"
        where.mkdir()
        for name, value in zip(("type", "level", "size", "shared_cpu_list"), values, strict=True):
            (where / name).write_text(value + "\n")


def test_caches_are_counted_for_all_cores_that_may_be_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sysfs(
        tmp_path,
        ("Data", "1", "32K", "0"),
        ("Instruction", "1", "32K", "0"),
        ("Unified", "2", "512K", "0"),
        ("Unified", "3", "32768K", "0-3"),
        ("Unified", "4", "odd", "0"),
    )
    monkeypatch.setattr(machine, "CACHES", tmp_path)
    monkeypatch.setattr(machine, "num_cores", lambda: 4)
    assert machine.caches() == (Cache("L1", 128 << 10), Cache("L2", 2 << 20), Cache("L3", 32 << 20))
    assert machine.cache_bytes() == 32 << 20


def test_a_kernel_that_says_nothing_about_caches_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "CACHES", tmp_path / "none")
    assert machine.caches() == ()
    assert machine.level_of(1, ()) == machine.DRAM


@pytest.mark.parametrize(("text", "count"), [("0", 1), ("0-3", 4), ("0-3,8", 5), ("0,64-65", 3)])
def test_processors_in_a_list(text: str, count: int) -> None:
    assert machine.num_listed(text) == count


def test_weights_as_large_as_a_level_live_in_it() -> None:
    assert [machine.level_of(size, LEVELS) for size in (64, 65, 32768, 32769)] == ["L1", "L2", "L3", "DRAM"]
