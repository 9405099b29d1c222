import os
import runpy
import subprocess
from pathlib import Path
from typing import Any

import pytest

from firesteel.backend import quantize
from firesteel.backend.quantize import quantized
from firesteel.errors import ModelError
from firesteel.models import files
from firesteel.models.catalogue import DEFAULT
from firesteel.models.gguf import BLOCKS, read_header, read_info
from firesteel.models.pull import pull

gguf = runpy.run_path(str(Path(__file__).parents[1] / "models" / "gguf_writer.py"))["gguf"]

METADATA: dict[str, tuple[str, Any]] = {
    "general.architecture": ("str", "llama"),
    "general.file_type": ("u32", 0),
    "llama.block_count": ("u32", 1),
    "llama.context_length": ("u32", 64),
    "llama.embedding_length": ("u32", 32),
    "llama.feed_forward_length": ("u32", 64),
    "llama.attention.head_count": ("u32", 2),
    "llama.attention.layer_norm_rms_epsilon": ("f32", 1e-5),
}
TENSORS = {
    "token_embd.weight": (32, 8),
    "output_norm.weight": (32,),
    "output.weight": (32, 8),
    "blk.0.attn_q.weight": (32, 32),
    "blk.0.attn_v.weight": (32, 32),
}
TYPES = {"q4_0": 2, "q8_0": 8}  # ggml_type of most tensors


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FIRESTEEL_HOME", str(tmp_path / "home"))
    path = tmp_path / "tiny.gguf"
    path.write_bytes(gguf(METADATA, TENSORS))
    return path


def forbid_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("requantised again"))


@pytest.mark.parametrize("kind", ["q4_0", "q8_0"])
def test_copy_has_the_kind_and_is_made_once(
    model: Path, monkeypatch: pytest.MonkeyPatch, kind: quantize.Kind, capfd: pytest.CaptureFixture[str]
) -> None:
    reports: list[tuple[int, int, str]] = []
    copy = quantized(model, kind, lambda *report: reports.append(report))
    assert copy == files.folder() / f"tiny.firesteel-{kind}.gguf"
    kinds = {tensor.name: tensor.type for tensor in read_header(copy).tensors}
    assert kinds.keys() == TENSORS.keys()
    assert kinds["blk.0.attn_q.weight"] == TYPES[kind]
    assert kinds["output_norm.weight"] == 0
    assert (model.stat().st_size, model.stat().st_size, f"requantising to {kind}") in reports
    assert capfd.readouterr() == ("", "")
    forbid_child(monkeypatch)
    before = copy.stat().st_mtime_ns
    assert quantized(model, kind) == copy
    assert copy.stat().st_mtime_ns == before
    assert [path.name for path in model.parent.iterdir() if path.is_file()] == ["tiny.gguf"]


def test_changed_source_is_requantised(model: Path) -> None:
    first = files.read_stamp(quantized(model, "q8_0"))
    model.write_bytes(gguf(METADATA | {"llama.context_length": ("u32", 128)}, TENSORS))
    copy = quantized(model, "q8_0")
    second = files.read_stamp(copy)
    assert read_info(copy).context_length == 128
    assert first is not None
    assert second is not None
    assert first.source != second.source
    assert second.source == files.stamp_of(model, files.sha256_of(model))


def test_quantised_source_may_be_requantised(model: Path) -> None:
    copy = quantized(quantized(model, "q8_0"), "q4_0")
    assert copy.name == "tiny.firesteel-q8_0.firesteel-q4_0.gguf"
    assert {tensor.type for tensor in read_header(copy).tensors} <= BLOCKS.keys()


def test_failure_says_what_llama_cpp_said_and_leaves_nothing(model: Path) -> None:
    model.write_bytes(
        gguf(
            METADATA | {"general.architecture": ("str", "nonsense"), "nonsense.context_length": ("u32", 1)},
            TENSORS,
        )
    )
    with pytest.raises(ModelError, match=r"cannot be requantised \(status -?\d+\): .*nonsense"):
        quantized(model, "q4_0")
    assert [path.name for path in files.folder().iterdir()] == [".locks"]


def test_file_that_is_no_model_is_refused_without_llama_cpp(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forbid_child(monkeypatch)
    model.write_bytes(b"nothing of the kind")
    with pytest.raises(ModelError, match="cannot be read as GGUF"):
        quantized(model, "q4_0")


def test_full_disk_is_a_clear_error(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "DISK_RESERVE", 1 << 60)
    with pytest.raises(ModelError, match=r"cannot write .*are needed, .*are free"):
        quantized(model, "q4_0")


def test_interrupt_stops_the_child_and_leaves_nothing(model: Path) -> None:
    def interrupt(done: int, total: int, label: str) -> None:
        if "requantising" in label:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quantized(model, "q4_0", interrupt)
    assert [path.name for path in files.folder().iterdir()] == [".locks"]


def test_log_of_llama_cpp_is_shown_on_demand(
    model: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FIRESTEEL_DEBUG", "1")
    quantized(model, "q4_0")
    assert "output_norm.weight" in capfd.readouterr().err


@pytest.mark.model
def test_default_model_becomes_smaller() -> None:
    path = pull(DEFAULT)
    copy = quantized(path, "q4_0")
    assert os.path.getsize(copy) < os.path.getsize(path)
    assert read_info(copy).num_parameters == read_info(path).num_parameters
    assert read_info(copy).chat_template == read_info(path).chat_template
