import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from firesteel.cli import common, models
from firesteel.models import catalogue, files
from firesteel.models.catalogue import Entry
from tests.models.gguf_writer import gguf
from tests.models.hub_server import Hub, serving

MODEL = gguf(
    {
        "general.architecture": ("str", "llama"),
        "llama.block_count": ("u32", 1),
        "llama.context_length": ("u32", 64),
        "llama.embedding_length": ("u32", 32),
        "llama.feed_forward_length": ("u32", 64),
        "llama.attention.head_count": ("u32", 2),
        "llama.attention.layer_norm_rms_epsilon": ("f32", 1e-5),
    },
    {"token_embd.weight": (32, 8), "blk.0.attn_q.weight": (32, 32)},
)
RUNNER = CliRunner()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    for name in ("FIRESTEEL_OFFLINE", "HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FIRESTEEL_HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    entry = Entry(
        name="tiny",
        file="tiny.gguf",
        bytes=len(MODEL),
        sha256=hashlib.sha256(MODEL).hexdigest(),
        license="MIT",
        sources=(catalogue.Hub("someone/some-model", "r1", "tiny.gguf"),),
    )
    monkeypatch.setattr(catalogue, "CATALOGUE", (entry,))
    with serving() as hub:
        hub.files["/someone/some-model/resolve/r1/tiny.gguf"] = MODEL
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


def run(*arguments: str, status: int = 0, stdin: str = "") -> tuple[str, str]:
    result = RUNNER.invoke(models.app, list(arguments), input=stdin)
    assert result.exit_code == status, result.output
    return result.stdout, result.stderr


def test_pull_list_where_remove(hub: Hub) -> None:
    path = str(files.folder() / "tiny.gguf")
    assert "no" in run("list")[0].splitlines()[1].split()
    out, err = run("pull", "tiny")
    assert out.splitlines() == [path]
    assert "tiny: " in err
    assert run("where", "tiny")[0].splitlines() == [path]
    assert "yes" in run("list")[0].splitlines()[1].split()
    out, _ = run("remove", "tiny", status=1, stdin="n\n")
    assert "Delete tiny.gguf, tiny.gguf.stamp" in out
    assert Path(path).exists()
    assert "removed" in run("remove", "tiny", "--yes")[0]
    assert not Path(path).exists()
    assert "nothing of 'tiny'" in run("remove", "tiny")[0]


def test_json_of_pull_and_list(hub: Hub) -> None:
    pulled = json.loads(run("pull", "tiny", "--quantize", "q8_0", "--json")[0])
    copy = files.folder() / "tiny.firesteel-q8_0.gguf"
    assert pulled == {
        "name": "tiny",
        "path": str(files.folder() / "tiny.gguf"),
        "bytes": len(MODEL),
        "sha256": hashlib.sha256(MODEL).hexdigest(),
        "quantized": str(copy),
    }
    listed = {row["name"]: row for row in json.loads(run("list", "--json")[0])}
    assert listed["tiny"]["present"] is True
    assert listed["tiny"]["license"] == "MIT"
    assert listed[copy.name]["bytes"] == copy.stat().st_size
    assert listed[copy.name]["summary"] == "requantised copy"
    assert run("where", copy.name)[0].strip() == str(copy)


def test_list_shows_how_much_of_a_model_is_here(hub: Hub) -> None:
    files.folder().mkdir()
    (files.folder() / "tiny.gguf.part").write_bytes(MODEL[: len(MODEL) // 2])
    assert "50 %" in run("list")[0]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("where", "tiny"), "get it with: firesteel models pull tiny"),
        (("where", "tinny"), "did you mean 'tiny'?"),
        (("pull", "hf:nonsense"), "not of the form"),
        (("pull", "hf:someone/some-model/missing.gguf"), "404"),
        (("remove", "tinny"), "not known"),
    ],
)
def test_errors_are_one_message_on_stderr(hub: Hub, arguments: tuple[str, ...], told: str) -> None:
    out, err = run(*arguments, status=1)
    assert out == ""
    assert err.startswith("error: ")
    assert told in err
    assert "Traceback" not in err


def test_interrupt_says_that_the_part_is_kept(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: files.Partial, data: bytes) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files.Partial, "append", interrupt)
    assert "what was pulled so far is kept" in run("pull", "tiny", status=130)[1]


def test_progress_without_a_terminal_is_a_line_for_each_phase(capsys: pytest.CaptureFixture[str]) -> None:
    with common.shown_progress() as progress:
        progress(0, 2_000_000, "tiny")
        progress(1_000_000, 2_000_000, "tiny")
        progress(0, 0, "waiting")
    assert capsys.readouterr().err.splitlines() == ["tiny: 0 of 2 MB", "waiting"]


def test_progress_on_a_terminal_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120)
    monkeypatch.setattr("rich.console.Console", lambda **_: console)
    with common.shown_progress() as progress:
        progress(2_000_000, 2_000_000, "tiny")
        progress(500_000, 2_000_000, "verifying")
        progress(0, 0, "waiting")
    assert "waiting" in screen.getvalue()
    assert "━" in screen.getvalue()
