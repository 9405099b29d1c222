"""What is learned survives the process, and only where something may be kept."""

import os
import stat
from pathlib import Path

import pytest

from firesteel.backend.scripted import ScriptedBackend
from firesteel.clock import SystemClock
from firesteel.config import EngineConfig, learned_folder
from firesteel.engine.cost import StepCost
from firesteel.engine.draft import learned
from firesteel.engine.draft.calibration import Calibration
from firesteel.engine.draft.drafting import Drafting
from firesteel.engine.draft.evidence import believed


def taught() -> tuple[StepCost, Calibration]:
    cost, calibration = StepCost(), Calibration(believed)
    for rows in (1, 2, 8, 32):
        for history in (0, 4096):
            cost.observe(rows, 0.02 + 0.003 * rows + history * 1e-6, history)
    for right in (True, True, False):
        calibration.learn("suffix", (3, 2), right=right)
    return cost, calibration


def test_costs_and_chances_come_back(tmp_path: Path) -> None:
    cost, calibration = taught()
    path = tmp_path / "new" / "a.json"
    learned.save(path, cost, calibration)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["a.json"]
    again, chances = StepCost(), Calibration(believed)
    learned.load(path, again, chances)
    for rows in (1, 5, 20, 40):
        assert again.seconds(rows, 1000) == pytest.approx(cost.seconds(rows, 1000))
    assert chances.chance("suffix", (3, 2)) == calibration.chance("suffix", (3, 2))


@pytest.mark.parametrize(
    "text",
    ["", "{", '{"version": 1, "cost": [[0, 1]], "chances": []}', '{"version": 1, "cost": [["a"]], "chances": []}',
     '{"version": 1, "cost": [], "chances": [["ngram", 1, 5, 2]]}', '{"version": 1, "cost": {}, "chances": []}'],
)  # fmt: skip
def test_a_damaged_file_teaches_nothing_and_is_named(
    text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    cost, calibration = StepCost(), Calibration(believed)
    learned.load(path, cost, calibration)
    assert cost.seconds(1) == 0
    assert calibration.chance("ngram", 1) == believed("ngram", 1)
    assert str(path) in caplog.text


def test_a_missing_file_and_another_version_are_silent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cost, calibration = StepCost(), Calibration(believed)
    learned.load(tmp_path / "none.json", cost, calibration)
    (tmp_path / "a.json").write_text('{"version": 99, "cost": [], "chances": []}')
    learned.load(tmp_path / "a.json", cost, calibration)
    assert caplog.text == ""


def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    learned.save(tmp_path / "file" / "a.json", *taught())
    assert "could not be kept" in caplog.text


def test_nothing_is_kept_where_there_is_no_disk(tmp_path: Path) -> None:
    assert learned.path_of(EngineConfig(disk_bytes=0), "model") is None
    config = EngineConfig(disk_bytes=1, disk_folder=str(tmp_path / "kv"))
    path = learned.path_of(config, "model")
    assert path is not None
    assert path.parent == learned_folder(config) == tmp_path / "kv-learned"
    assert path != learned.path_of(config, "another model")


def test_costs_of_other_kernels_are_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are kept under what the backend says that its states depend on, which names the backend and its build."""
    config = EngineConfig(backend="scripted", disk_bytes=1, disk_folder=str(tmp_path / "kv"))
    backend = ScriptedBackend(None, config, SystemClock())
    first = Drafting(config, backend, lambda: 0.0)
    for _ in range(9):
        first.cost.observe(1, 0.5)
    first.close()
    assert Drafting(config, backend, lambda: 0.0).cost.seconds(1) == pytest.approx(0.5)
    assert "backend=scripted" in backend.state_fingerprint
    monkeypatch.setattr(ScriptedBackend, "state_fingerprint", "firesteel-kv=1 backend=native-1 kernels=avx2")
    assert Drafting(config, backend, lambda: 0.0).cost.seconds(1) == 0
