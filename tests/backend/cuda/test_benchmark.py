"""benchmarks/gpu.py runs where there is no GPU: every row is there, nothing failed, and what it checks is right."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "gpu.py"
GROUPS = {"ceilings", "checks", "decode", "verify", "predicted", "first_token", "prefill", "peer"}


def run(*options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(SCRIPT), "--device", "cpu", "--tiny", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_row_is_there(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    done = run("--out", str(out))
    assert done.returncode == 0, done.stderr + done.stdout
    document = json.loads(out.read_text())
    rows = document["rows"]
    assert {row["group"] for row in rows} == GROUPS
    assert not [row for row in rows if "error" in row]
    assert all(row["value"] >= 0 or "skipped" in row for row in rows if "value" in row)
    assert all(row["ok"] for row in rows if "ok" in row)
    assert all(row["same text"] for row in rows if "same text" in row)
    assert document["weights"] == "random, of the real shape"
    assert document["machine"]["problem"] or document["machine"]["devices"]
    assert all(row["what"] in done.stdout for row in rows)


def test_a_row_that_fails_says_so_and_the_rest_go_on(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    done = run("--out", str(out), "--seconds", "-1")
    assert done.returncode == 1
    rows = json.loads(out.read_text())["rows"]
    assert [row["group"] for row in rows if "TimeoutError" in row["error"]] == [row["group"] for row in rows]
    assert {row["group"] for row in rows} == GROUPS


def test_a_device_that_is_not_there_is_told(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    command = [sys.executable, str(SCRIPT), "--device", "cuda:99", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert all("error" in row or "skipped" in row for row in json.loads(out.read_text())["rows"])
