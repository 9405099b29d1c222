"""benchmarks/gpu.py runs where there is no GPU: every row is there, nothing failed, and what it checks is right."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.backend.cuda.running import open_cuda
from tests.backend.native.models import TOKENS, model, open_model
from tests.backend.tiny_models import Sizes

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "gpu.py"
GROUPS = {"ceilings", "checks", "decode", "verify", "predicted", "first_token", "prefill", "peer"}
SERVED = {"engine_first_token", "http_first_token", "edits", "agreement"}  # through the installed package
GROUPS |= SERVED


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
    served = {row["group"]: row for row in rows if row["group"] in SERVED}
    assert served["engine_first_token"]["tokens computed"] == 64
    assert served["edits"]["same text as plain"] == "1 of 1"
    assert all(row["same text"] for row in rows if "same text" in row)
    assert document["weights"] == "random, of the real shape"
    assert document["machine"]["problem"] or document["machine"]["devices"]
    assert all(row["what"] in done.stdout for row in rows)


def test_groups_can_be_chosen(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    assert run("--out", str(out), "--only", "ceilings").returncode == 0
    assert {row["group"] for row in json.loads(out.read_text())["rows"]} == {"ceilings"}


def test_a_file_of_any_shape(tmp_path: Path, folder: Path) -> None:
    out = tmp_path / "gpu.json"
    path = model(folder, "qwen3moe", "f16")
    done = run("--out", str(out), "--model", str(path), "--only", "ceilings", "checks", "agreement")
    assert done.returncode == 0, done.stderr + done.stdout
    document = json.loads(out.read_text())
    assert document["weights"] == str(path)
    sizes = Sizes()
    heads = (2 * sizes.heads + 2 * sizes.kv_heads) * sizes.head  # queries, keys, values, output
    layer = sizes.width * (heads + sizes.experts_used * 3 * sizes.inner)  # of experts, those that a token uses
    expected = 4 * (sizes.layers * layer + 258 * sizes.width)
    assert document["rows"][2]["value"] * 1e6 == pytest.approx(expected)


@pytest.mark.parametrize("is_same", [True, False])
def test_text_that_is_no_tie_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch, is_same: bool) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    served: Any = importlib.import_module("gpu_served")
    path = model(folder, "qwen2", "f16")
    ours = open_cuda(path if is_same else model(folder, "qwen2", "f32", sizes=Sizes(inner=256)))
    theirs = open_model(path, "llamacpp")
    row = served.agreement_row(1, TOKENS[:9], 12, ours, theirs)
    ours.close()
    theirs.close()
    assert (row["ok"], row["value"] == 12, not row["ties"]) == (is_same,) * 3


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
