import json
from pathlib import Path

import msgspec
import pytest
import typer
from typer.testing import CliRunner

from firesteel import machine
from firesteel.backend.cuda.device import Device, Found
from firesteel.backend.native import library
from firesteel.cli import doctor as doctor_module
from firesteel.cli.doctor import Storage, doctor, gpu_words, outlook, parse_kernels, sources
from firesteel.errors import ConfigError
from firesteel.machine import Cache, Machine
from firesteel.models import catalogue
from tests.backend import tiny_models

GIB = 1 << 30


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CliRunner:
    """A machine whose bandwidth is known, with an empty home."""
    monkeypatch.setattr(machine, "read_bandwidth", lambda num_threads, *, size=None: 10e9 if size is None else 99e9)
    monkeypatch.setattr(machine, "caches", lambda: (Cache("L1", 1 << 16), Cache("L2", 1 << 20), Cache("L3", 1 << 25)))
    monkeypatch.setenv("FIRESTEEL_HOME", str(tmp_path / "not" / "yet"))
    return CliRunner()


def of_memory(size: int) -> Machine:
    return msgspec.structs.replace(machine.describe(), memory_bytes=size)


def application() -> typer.Typer:
    app = typer.Typer()
    app.command()(doctor)
    return app


def test_json_document(run: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRESTEEL_OFFLINE", "1")
    result = run.invoke(application(), ["--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["read_bytes_per_second"] == 10e9
    assert document["storage"]["offline"]
    assert document["storage"]["free_bytes"] > 0
    assert "SSE3" in document["kernels"] or "NEON" in document["kernels"]
    assert document["native_kernels"] == doctor_module.native_kernels()
    assert [(level["name"], level["read_bytes_per_second"]) for level in document["levels"]] == [
        ("L2", 99e9),
        ("L3", 99e9),
        ("DRAM", 10e9),
    ]
    assert [level["measured_bytes"] for level in document["levels"][:2]] == [1 << 19, 1 << 24]
    assert {model["level"] for model in document["models"]} == {"DRAM"}
    assert [model["name"] for model in document["models"]] == [entry.name for entry in catalogue.CATALOGUE]


def test_table_names_every_model(run: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    result = run.invoke(application())
    assert result.exit_code == 0, result.output
    for words in (
        "10.0 GB/s",
        "L3 (32 MiB) 99 GB/s",
        "DRAM, 10 GB/s",
        "own kernels",
        "estimates",
        *(entry.name for entry in catalogue.CATALOGUE),
    ):
        assert words in result.stdout


def test_memory_is_shown_part_by_part_once_the_model_is_here(
    run: CliRunner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr(machine, "available_bytes", lambda: 3_000_000_000)
    assert "is known once it is pulled" in run.invoke(application()).stdout
    path = tiny_models.transformer(tmp_path / "tiny.gguf")
    monkeypatch.setattr(doctor_module, "local_path", lambda entry: path)
    text = run.invoke(application()).stdout
    assert "3,000 MB of memory are available" in text
    for part in ("weights", "KV", "intermediate results", "cache of idle conversations 537 MB", "program"):
        assert part in text
    document = json.loads(run.invoke(application(), ["--json"]).stdout)
    assert document["available_bytes"] == 3_000_000_000
    assert set(document["memory"]) == {"weights", "kv", "compute", "cache", "program"}


def test_outlook_of_a_model_that_is_not_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FIRESTEEL_HOME", str(tmp_path))
    entry = catalogue.find(catalogue.DEFAULT)
    assert entry.bytes is not None
    found = outlook(entry, of_memory(16 * GIB), 10 * entry.bytes)
    assert (found.expected_slow, found.expected_fast) == (5.0, 10.0)
    assert found.path is None
    assert found.fits
    assert not outlook(entry, of_memory(GIB), 1e9).fits


def test_outlook_of_a_model_that_is_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor_module, "local_path", lambda entry: tmp_path / "model.gguf")
    monkeypatch.setattr(doctor_module, "weights_read", lambda path: 100_000_000)
    found = outlook(catalogue.find(catalogue.DEFAULT), of_memory(16 * GIB), 10e9)
    assert (found.bytes_per_token, found.level, found.expected_fast) == (100_000_000, "DRAM", 100.0)


@pytest.mark.usefixtures("run")
def test_weights_that_stay_in_a_cache_are_expected_at_its_bandwidth(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(doctor_module, "local_path", lambda entry: tmp_path / "model.gguf")
    monkeypatch.setattr(doctor_module, "weights_read", lambda path: 9_900_000)
    found = outlook(catalogue.find(catalogue.DEFAULT), of_memory(16 * GIB), 10e9)
    assert (found.level, found.read_bytes_per_second, found.expected_fast) == ("L3", 99e9, 10_000.0)


def test_own_kernels_are_named_by_the_native_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor_module.native_kernels() == library.best_kernels()

    def missing() -> None:
        raise ConfigError("the native kernels do not load")

    monkeypatch.setattr(library, "load", missing)
    assert doctor_module.native_kernels() is None


def test_kernels_are_those_that_are_switched_on() -> None:
    assert parse_kernels("CPU : SSE3 = 1 | AVX512 = 0 | AVX2 = 1 | REPACK = 1 | ") == (
        "SSE3",
        "AVX2",
        "REPACK",
    )


@pytest.mark.parametrize(
    ("offline", "mirror", "words"),
    [(True, True, "forbids"), (False, True, "package index"), (False, False, "pip is missing")],
)
def test_sources(offline: bool, mirror: bool, words: str) -> None:
    storage = Storage(home="h", free_bytes=1, offline=offline, hub="https://hub", mirror_usable=mirror)
    assert words in sources(storage)


def test_the_gpu_is_found_or_the_way_out_is_named() -> None:
    nothing = Found(torch=None, triton=None, cuda=None, driver=None, devices=(), problem="PyTorch is not installed; do")
    assert gpu_words(nothing) == "--backend cuda would not run: PyTorch is not installed; do"
    device = Device(name="H200", memory_bytes=141 * GIB, capability="9.0", num_processors=132)
    found = Found(torch="2.13.0", triton="3.7.1", cuda="13.0", driver="580.1", devices=(device,), problem=None)
    assert gpu_words(found).startswith(
        "H200, 141 GiB, compute capability 9.0 (torch 2.13.0, CUDA 13.0, triton 3.7.1, driver 580.1)"
    )
