"""What memory there is, seen from inside control groups of both versions."""

from pathlib import Path

import psutil
import pytest

from firesteel import machine

GIB = 1 << 30


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No control groups yet, on a machine with 64 GiB."""
    monkeypatch.setattr(machine, "CGROUPS", tmp_path)
    monkeypatch.setattr(machine, "OWN_CGROUPS", tmp_path / "own")
    memory = psutil.virtual_memory()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory._replace(total=64 * GIB, available=48 * GIB))
    return tmp_path


def group(folder: Path, limit: int | str, used: int, cached: int, *, old: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if old else ("memory.max", "memory.current")
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    prefix = "total_" if old else ""
    (folder / "memory.stat").write_text(
        f"anon 1\n{prefix}inactive_file {cached // 2}\n{prefix}active_file {cached // 2}\n"
    )


def test_without_groups_the_machine_counts(groups: Path) -> None:
    assert machine.available_bytes() == 48 * GIB
    assert machine.memory_bytes() == 64 * GIB


def test_a_container_that_sees_only_its_root(groups: Path) -> None:
    (groups / "own").write_text("0::/\n")
    group(groups, 8 * GIB, 5 * GIB, 2 * GIB)
    assert machine.memory_bytes() == 8 * GIB
    assert machine.available_bytes() == 5 * GIB  # cached files give way


def test_the_tightest_of_nested_groups_counts(groups: Path) -> None:
    (groups / "own").write_text("0::/outer/inner\n")
    group(groups / "outer" / "inner", "max", 1 * GIB, 0)
    group(groups / "outer", 4 * GIB, 3 * GIB, 0)
    assert (machine.memory_bytes(), machine.available_bytes()) == (4 * GIB, GIB)


def test_version_1(groups: Path) -> None:
    (groups / "own").write_text("4:cpu,memory:/job\n0::/\n")
    group(groups / "memory" / "job", 6 * GIB, 7 * GIB, 0, old=True)
    group(groups / "memory", 9_223_372_036_854_771_712, 0, 0, old=True)  # unlimited
    assert (machine.memory_bytes(), machine.available_bytes()) == (6 * GIB, 0)


def test_damaged_files_are_no_limit(groups: Path) -> None:
    (groups / "own").write_text("0::/\n")
    group(groups, "much", 0, 0)
    assert machine.available_bytes() == 48 * GIB
