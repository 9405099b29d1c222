"""`firesteel train sentinel`: what it asks for, what it writes and says."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from firesteel.cli import train
from firesteel.guard.sentinel import unpacked
from firesteel.train import softmax


def test_without_data_it_says_what_to_give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(train.app, ["sentinel"])
    assert done.exit_code == 1
    assert "--data" in done.stderr
    assert "labelled pairs" in done.stderr


def test_it_writes_weights_and_card_and_says_so_in_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(softmax, "NUM_STEPS", 5)
    pair = {"language": "python", "cwe": "CWE-78", "vulnerable": "def f(x):\n    os.system('ls ' + x)\n"}
    (tmp_path / "pairs.jsonl").write_text(json.dumps(pair | {"fixed": "def f(x):\n    subprocess.run(['ls', x])\n"}))
    (tmp_path / "good").mkdir()
    out, card = tmp_path / "weights.bin", tmp_path / "card.md"
    arguments = ["--data", tmp_path, "--ordinary", tmp_path / "good", "--out", out, "--card", card, "--json"]
    done = CliRunner().invoke(train.app, ["sentinel", *map(str, arguments)])
    assert done.exit_code == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["bytes"] == out.stat().st_size
    assert said["head"]["checksum"] == unpacked(out.read_bytes()).head.checksum
    assert "1 pairs" in card.read_text()
