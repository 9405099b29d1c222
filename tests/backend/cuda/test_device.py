"""What is said where there is no PyTorch or no GPU: the reason, and the way out. Needs neither."""

import importlib
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from firesteel.backend import open_backend
from firesteel.backend.cuda import device
from firesteel.config import EngineConfig
from firesteel.errors import ConfigError
from tests.backend import tiny_models
from tests.backend.native.models import model


def fake_torch(monkeypatch: pytest.MonkeyPatch, *, cuda: str | None, num_devices: int, triton: bool = True) -> None:
    """PyTorch as far as `device` asks it."""

    def parse(name: str) -> Any:
        kind, _, index = name.partition(":")
        if kind not in ("cuda", "cpu", "mps"):
            raise RuntimeError(f"bad device {name}\nand a stack")
        return SimpleNamespace(type=kind, index=int(index) if index else None)

    properties = SimpleNamespace(name="H200", total_memory=141 << 30, major=9, minor=0, multi_processor_count=132)
    torch = SimpleNamespace(
        __version__="2.13.0",
        device=lambda name, index=None: parse(name) if index is None else SimpleNamespace(type=name, index=index),
        version=SimpleNamespace(cuda=cuda),
        cuda=SimpleNamespace(device_count=lambda: num_devices, get_device_properties=lambda index: properties),
    )
    modules: dict[str, Any] = {"torch": torch, "triton": SimpleNamespace(__version__="3.7.1") if triton else None}
    monkeypatch.setattr(device, "imported", modules.get)


def test_without_torch_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(device, "imported", lambda name: None)
    found = device.look()
    assert found.torch is None
    assert found.problem is not None
    assert "pip install 'firesteel[gpu]'" in found.problem
    config = EngineConfig(backend="cuda", model=str(model(tmp_path, "llama", "f32")))
    with pytest.raises(ConfigError, match=r"needs PyTorch.*pip install 'firesteel\[gpu\]'.*leave --backend to `auto`"):
        open_backend(config)


@pytest.mark.parametrize(
    ("cuda", "driver", "num_devices", "triton", "said"),
    [
        (None, None, 0, True, "built for processors only; install a CUDA build"),
        ("13.0", None, 0, True, "no NVIDIA driver is loaded"),
        ("13.0", "550.1", 0, True, r"sees no GPU with this driver \(550.1\)"),
        ("13.0", "550.1", 1, False, "Triton is not installed"),
    ],
)
def test_what_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, cuda: str | None, driver: str | None, num_devices: int, triton: bool, said: str
) -> None:
    monkeypatch.setenv("FIRESTEEL_TORCH_DEVICE", "cuda")
    fake_torch(monkeypatch, cuda=cuda, num_devices=num_devices, triton=triton)
    monkeypatch.setattr(device, "driver_line", lambda: driver)
    with pytest.raises(ConfigError, match=said) as error:
        device.open_device()
    assert "leave --backend to `auto`" in str(error.value)


def test_a_gpu_is_found_and_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRESTEEL_TORCH_DEVICE", "cuda:1")
    fake_torch(monkeypatch, cuda="13.0", num_devices=2)
    monkeypatch.setattr(device, "driver_line", lambda: "580.1")
    found = device.look()
    assert found.problem is None
    assert found.devices[1] == device.Device(name="H200", memory_bytes=141 << 30, capability="9.0", num_processors=132)
    assert device.open_device().index == 1
    monkeypatch.setenv("FIRESTEEL_TORCH_DEVICE", "cuda:2")
    with pytest.raises(ConfigError, match="there are 2 GPUs"):
        device.open_device()


@pytest.mark.parametrize("name", ["mps", "toaster"])
def test_other_devices_are_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("FIRESTEEL_TORCH_DEVICE", name)
    fake_torch(monkeypatch, cuda="13.0", num_devices=1)
    with pytest.raises(ConfigError, match=f"FIRESTEEL_TORCH_DEVICE={name}"):
        device.open_device()


def test_a_module_that_does_not_load_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> ModuleType:
        raise OSError("libcudart.so is missing")

    monkeypatch.setattr(importlib, "import_module", fail)
    assert device.imported("torch") is None


def test_the_driver_says_its_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(device, "DRIVER", tmp_path / "version")
    assert device.driver_line() is None
    (tmp_path / "version").write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.1\nGCC version: 12\n")
    assert device.driver_line() == "NVIDIA UNIX x86_64 Kernel Module  580.1"


def test_what_it_cannot_do_is_refused(tmp_path: Path) -> None:
    path = str(model(tmp_path, "llama", "f32"))
    for settings, said in (({"kv_type": "q8_0"}, "--kv-type q8_0"), ({"yarn": 2.0}, "stretched positions")):
        with pytest.raises(ConfigError, match=said):
            open_backend(EngineConfig(backend="cuda", model=path, **settings))


@pytest.mark.parametrize("backend", ["auto", "native", "llamacpp", "scripted"])
def test_weights_of_a_gpu_are_refused_elsewhere(tmp_path: Path, backend: Any) -> None:
    path = str(model(tmp_path, "llama", "f32"))
    with pytest.raises(ConfigError, match=r"--weights.* needs --backend cuda"):
        open_backend(EngineConfig(backend=backend, model=path, weights="int8"))


def test_an_architecture_that_it_does_not_know_is_refused(tmp_path: Path) -> None:
    path = tiny_models.windowed(tmp_path / "gemma.gguf")
    with pytest.raises(ConfigError, match=r"cannot run gemma\.gguf.*leave --backend to `auto`"):
        open_backend(EngineConfig(backend="cuda", model=str(path)))
