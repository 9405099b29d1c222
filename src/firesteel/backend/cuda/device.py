"""What there is to run on: PyTorch, Triton, a GPU and its driver; or in words why not, and the way out."""

import importlib
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from firesteel.errors import ConfigError

INSTALL = "pip install 'firesteel[gpu]'"
DRIVER = Path("/proc/driver/nvidia/version")
OTHER_WAY = "leave --backend to `auto` to run on the processor"


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU."""

    name: str
    memory_bytes: int
    capability: str  # compute capability, "9.0" is Hopper
    num_processors: int


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What `--backend cuda` would find here."""

    torch: str | None  # version; None: not installed
    triton: str | None
    cuda: str | None  # that torch was built for; None: a build for processors only
    driver: str | None  # the kernel module's line of the NVIDIA driver
    devices: tuple[Device, ...]
    problem: str | None  # why it would not run, and the way out; None: it would


def look() -> Found:
    """Return what is here; never raises. Importing torch takes some seconds where it is installed."""
    torch, triton = imported("torch"), imported("triton")
    driver = driver_line()
    if torch is None:
        problem = f"PyTorch is not installed; {INSTALL}, or {OTHER_WAY}"
        return Found(torch=None, triton=version(triton), cuda=None, driver=driver, devices=(), problem=problem)
    devices = tuple(map(describe, range(torch.cuda.device_count()), [torch] * torch.cuda.device_count()))
    return Found(
        torch=version(torch),
        triton=version(triton),
        cuda=torch.version.cuda,
        driver=driver,
        devices=devices,
        problem=problem_of(torch.version.cuda, driver, devices, version(triton)),
    )


def problem_of(cuda: str | None, driver: str | None, devices: tuple[Device, ...], triton: str | None) -> str | None:
    """Return why a model would not run on a GPU here, and the way out."""
    if cuda is None:
        return f"this PyTorch was built for processors only; install a CUDA build, or {OTHER_WAY}"
    if driver is None and not devices:
        return f"no NVIDIA driver is loaded (nothing at {DRIVER}); install one, or {OTHER_WAY}"
    if not devices:
        return f"PyTorch for CUDA {cuda} sees no GPU with this driver ({driver}); update one of them, or {OTHER_WAY}"
    if triton is None:
        return f"Triton is not installed, which the kernels are written in; {INSTALL}, or {OTHER_WAY}"
    return None


def describe(index: int, torch: ModuleType) -> Device:
    """Return what PyTorch says of a GPU."""
    properties = torch.cuda.get_device_properties(index)
    return Device(
        name=properties.name,
        memory_bytes=properties.total_memory,
        capability=f"{properties.major}.{properties.minor}",
        num_processors=properties.multi_processor_count,
    )


def imported(name: str) -> ModuleType | None:
    """Return a module, or None where it is not installed or does not load."""
    try:
        return importlib.import_module(name)
    except (ImportError, OSError):
        return None


def version(module: ModuleType | None) -> str | None:
    """Return a module's version."""
    return None if module is None else str(getattr(module, "__version__", "unknown"))


def driver_line() -> str | None:
    """Return the first line of what the NVIDIA kernel module says about itself; None where none is loaded."""
    try:
        return DRIVER.read_text().splitlines()[0].removeprefix("NVRM version: ").strip()
    except (OSError, IndexError):
        return None


def open_device() -> Any:
    """Return the `torch.device` to run on. Raises ConfigError, with the way out, where there is none.

    `FIRESTEEL_TORCH_DEVICE=cpu` runs the same code on the processor: for tests, since it is slower than `native`.
    """
    wanted = os.environ.get("FIRESTEEL_TORCH_DEVICE", "cuda")
    torch = imported("torch")
    if torch is None:
        raise ConfigError(f"--backend cuda needs PyTorch, which is not installed; {INSTALL}, or {OTHER_WAY}")
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise ConfigError(f"FIRESTEEL_TORCH_DEVICE={wanted} is no device of PyTorch: {first_line(error)}") from None
    if device.type == "cpu":
        return device
    if device.type != "cuda":
        raise ConfigError(f"FIRESTEEL_TORCH_DEVICE={wanted} is not known here; it may be cuda, cuda:N or cpu")
    found = look()
    if found.problem is not None:
        raise ConfigError(f"--backend cuda cannot run here: {found.problem}")
    if (device.index or 0) >= len(found.devices):
        raise ConfigError(f"FIRESTEEL_TORCH_DEVICE={wanted}: there are {len(found.devices)} GPUs, counted from 0")
    return torch.device("cuda", device.index or 0)


def first_line(error: Exception) -> str:
    """Return the first line of an error's message; PyTorch's go on with a stack."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__
