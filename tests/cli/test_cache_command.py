"""`firesteel cache`: what is kept is shown and cleared, and nothing else is."""

import json
import os
import pty
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from firesteel.cli import cache
from tests.engine.blocks import kept, open_store, write_chain
from tests.server.live import environment, firesteel

RUNNER = CliRunner()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FIRESTEEL_HOME", str(tmp_path))
    return tmp_path / "kv"


@pytest.fixture
def blocks(folder: Path) -> Path:
    """Two models, one of them with two settings."""
    write_chain(open_store(folder, "small f16", model="small"), 3, num_bytes=1_000)
    write_chain(open_store(folder, "small q8_0", model="small"), 2, num_bytes=1_000)
    write_chain(open_store(folder, "large", model="large"), 1, first=77_000, num_bytes=3_000_000)
    return folder


def run(*arguments: str, status: int = 0) -> tuple[str, str]:
    result = RUNNER.invoke(cache.app, list(arguments))
    assert result.exit_code == status, result.output
    return result.stdout, result.stderr


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*/*"))


def shown() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(run("--json")[0])
    return document


def test_what_is_kept_is_shown_by_model(blocks: Path) -> None:
    out, _ = run()
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines()}
    assert rows["large"][:4] == ["1", "256", "3", "MB"]
    assert rows["small"][:2] == ["5", "1,280"]
    assert out.splitlines()[-2] == f"3 MB in {blocks}"
    assert out.splitlines()[-1].startswith("0 bytes of weights packed")


def test_json_says_the_same_in_numbers(blocks: Path) -> None:
    document = shown()
    assert document["folder"] == str(blocks)
    assert document["bytes"] == size_of(blocks) == sum(row["bytes"] for row in document["models"])
    large, small = document["models"]
    assert (large["model"], large["blocks"], large["tokens"]) == ("large", 1, 256)
    assert (small["model"], small["blocks"], small["tokens"]) == ("small", 5, 1_280)
    newest = max(path.stat().st_mtime for path in blocks.glob("*/*.kv"))
    assert max(row["last_used"] for row in document["models"]) == pytest.approx(newest)


def test_nothing_kept_is_said(folder: Path) -> None:
    packed = folder.with_name("packed")
    said = f"0 bytes in {folder}\n0 bytes of weights packed for own kernels in {packed}\n"
    assert run()[0] == said
    assert run("clear")[0] == f"removed 0 bytes from {folder}\n"
    nothing = {"folder": str(packed), "bytes": 0, "copies": []}
    assert shown() == {"folder": str(folder), "bytes": 0, "models": [], "packed": nothing}


def test_packed_weights_are_shown_and_cleared(folder: Path) -> None:
    packed = folder.with_name("packed")
    packed.mkdir(parents=True)
    (packed / "a-0.packed").write_bytes(bytes(1000))
    assert "1000 bytes of weights packed" in run()[0]
    assert "no terminal" in run("clear", "--packed", status=1)[1]
    assert run("clear", "--packed", "--yes")[0] == f"removed 1000 bytes from {packed}\n"
    assert shown()["packed"]["copies"] == []


def test_damaged_files_are_counted_and_cleared_too(blocks: Path) -> None:
    for path in [*blocks.glob("*/about.json"), *blocks.glob("*/*.kv")]:
        path.write_bytes(b"damaged")
    (row,) = shown()["models"]
    assert (row["model"], row["blocks"], row["tokens"], row["bytes"]) == ("unknown", 6, 0, size_of(blocks))
    run("clear", "--yes")
    assert list(blocks.iterdir()) == []


def test_clear_removes_all_that_is_ours_and_nothing_else(blocks: Path) -> None:
    size = size_of(blocks)
    store = next(blocks.iterdir())
    strangers = [blocks / "notes.txt", blocks / "photos" / "about.json", store / "holiday.jpg"]
    for path in strangers:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    (store / f"{'0' * 32}.kv.1-00000000-1.tmp").write_bytes(bytes(100))
    out, _ = run("clear", "--yes", "--json")
    assert json.loads(out) == {"folder": str(blocks), "removed_bytes": size + 100}
    assert {path for path in blocks.rglob("*") if path.is_file()} == set(strangers)


def test_clear_of_one_model_leaves_the_others(blocks: Path) -> None:
    out, _ = run("clear", "--model", "large", "--yes")
    assert out == f"removed 3 MB from {blocks}\n"
    assert [row["model"] for row in shown()["models"]] == ["small"]
    _, err = run("clear", "--model", "large", "--yes", status=1)
    assert err == "error: `--model`: nothing is kept for 'large'; kept are: small\n"


def test_without_a_terminal_it_asks_for_yes(blocks: Path) -> None:
    before = kept(blocks)
    out, err = run("clear", status=1)
    assert (out, err) == ("", "error: there is no terminal to ask on: add --yes to delete\n")
    assert kept(blocks) == before


@pytest.mark.parametrize(("answer", "status"), [("y", 0), ("n", 1), ("", 1)])
def test_on_a_terminal_it_asks(blocks: Path, answer: str, status: int) -> None:
    before = kept(blocks)
    ours, theirs = pty.openpty()
    os.write(ours, f"{answer}\n".encode())
    done = subprocess.run(
        firesteel("cache", "clear", "--model", "large"),
        stdin=theirs,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env=environment({"FIRESTEEL_HOME": str(blocks.parent)}),
    )
    os.close(ours)
    os.close(theirs)
    assert f"Delete 3 MB of large in {blocks}?" in done.stderr
    assert done.returncode == status, done.stderr
    assert len(before) - len(kept(blocks)) == (status == 0)


def test_a_server_that_runs_meanwhile_misses_and_goes_on(folder: Path) -> None:
    removed: list[str] = []
    store = open_store(folder, model="small", on_removed=removed.extend)
    ids = write_chain(store, 3)
    run("clear", "--yes")
    assert not folder.exists() or not list(folder.iterdir())
    assert [store.read(id) for id in ids] == [None] * 3
    assert removed == ids
    assert write_chain(store, 3) == ids
    assert [row["blocks"] for row in shown()["models"]] == [3]
