"""`firesteel doctor`: what this machine is, what fits on it, and what speed to expect."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from firesteel.machine import Machine

if TYPE_CHECKING:
    from rich.table import Table

    from firesteel.backend.cuda.device import Found
    from firesteel.backend.memory import Memory
    from firesteel.models.catalogue import Entry

WORKING_BYTES = 1 << 30  # beside the weights: context, caches, the program itself
REACHED = (0.5, 1.0)  # the share of the bandwidth ceiling that decode reaches, at worst and at best


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """One level of the memory."""

    name: str  # L2, L3, DRAM
    bytes: int  # of a cache: what all cores that we may use have of it together
    measured_bytes: int  # what was read, again and again
    read_bytes_per_second: float


class ModelOutlook(msgspec.Struct, frozen=True, kw_only=True):
    """What to expect of one model of the catalogue. The speeds are estimates, in tokens a second."""

    name: str
    path: str | None  # None: not on this machine
    file_bytes: int
    fits: bool
    bytes_per_token: int  # the file's size where the file is not here to be asked
    level: str  # of the memory, in which so many bytes stay from one token to the next
    read_bytes_per_second: float  # of so many bytes, all cores
    expected_slow: float
    expected_fast: float


class Storage(msgspec.Struct, frozen=True, kw_only=True):
    """Where models live and whether more could be had."""

    home: str
    free_bytes: int
    offline: bool  # FIRESTEEL_OFFLINE or HF_HUB_OFFLINE forbids the network
    hub: str
    mirror_usable: bool  # pip is there to fetch from the Python package index


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that `firesteel doctor` found out."""

    version: str
    machine: Machine
    kernels: tuple[str, ...]  # instruction sets and features that llama.cpp was built with
    native_kernels: str | None  # the set that the native backend uses here; None: there is none
    gpu: "Found"  # what the CUDA backend would find
    read_bytes_per_second: float  # DRAM, all cores
    levels: tuple[Level, ...]  # the caches, then DRAM
    storage: Storage
    models: tuple[ModelOutlook, ...]
    available_bytes: int  # memory that could be taken now
    memory: "Memory | None"  # what the default model takes with default settings; None: it is not here


def doctor(json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False) -> None:
    """Say what this machine is, which models fit on it, and what speed to expect."""
    diagnosis = diagnose()
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode(diagnosis)).decode())
        return
    from rich.console import Console

    console = Console()
    console.print(machine_table(diagnosis))
    console.print(model_table(diagnosis.models))
    console.print(memory_line(diagnosis))
    console.print(
        "Expected speeds are estimates: half to all of what memory bandwidth allows. `firesteel bench decode` measures."
    )


def diagnose() -> Diagnosis:
    """Examine the machine; costs about three seconds, most of it for the memory bandwidth."""
    from firesteel import __version__, machine
    from firesteel.backend.cuda.device import look
    from firesteel.models import catalogue

    description = machine.describe()
    bandwidth = machine.read_bandwidth(description.num_cores)
    return Diagnosis(
        version=__version__,
        machine=description,
        kernels=kernels(),
        native_kernels=native_kernels(),
        gpu=look(),
        read_bytes_per_second=bandwidth,
        levels=levels(description, bandwidth),
        storage=storage(),
        models=tuple(outlook(entry, description, bandwidth) for entry in catalogue.CATALOGUE if entry.bytes),
        available_bytes=machine.available_bytes(),
        memory=memory_of_default(),
    )


def memory_of_default() -> "Memory | None":
    """Return what the default model takes with default settings, part by part; None when it is not here."""
    from firesteel.backend.blueprint import draw
    from firesteel.config import EngineConfig
    from firesteel.models import catalogue

    path = local_path(catalogue.find(catalogue.DEFAULT))
    return draw(path, EngineConfig()).memory if path else None


def memory_line(diagnosis: Diagnosis) -> str:
    """Return in words what `serve` takes with the default model, and what there is."""
    from firesteel.backend.memory import megabytes, parts
    from firesteel.models.catalogue import DEFAULT

    available = f"{megabytes(diagnosis.available_bytes)} of memory are available"
    if diagnosis.memory is None:
        return f"{available}. What {DEFAULT} takes is known once it is pulled."
    return f"{available}; {DEFAULT} takes up to {megabytes(diagnosis.memory.total)}: {parts(diagnosis.memory)}."


def levels(description: Machine, bandwidth: float) -> tuple[Level, ...]:
    """Return the caches, each measured at half its size so that nothing else need leave it, then DRAM (`bandwidth`)."""
    from firesteel import machine

    found = []
    for cache in machine.caches()[1:]:  # no model lives in the first level
        half = cache.bytes // 2
        speed = machine.read_bandwidth(description.num_cores, size=half)
        found.append(Level(name=cache.level, bytes=cache.bytes, measured_bytes=half, read_bytes_per_second=speed))
    dram = Level(
        name=machine.DRAM,
        bytes=description.memory_bytes,
        measured_bytes=machine.dram_bytes(),
        read_bytes_per_second=bandwidth,
    )
    return (*found, dram)


def native_kernels() -> str | None:
    """Return the set of own kernels that would run here, as `firesteel.backend.native.kernel_set` says; None: none.

    It loads no model.
    """
    from firesteel.backend.native import kernel_set
    from firesteel.errors import ConfigError

    try:
        return kernel_set()
    except ConfigError:  # not built
        return None


def kernels() -> tuple[str, ...]:
    """Return what llama.cpp was built with."""
    from firesteel.backend.llamacpp.library import functions

    return parse_kernels(functions().llama_print_system_info().decode())


def parse_kernels(text: str) -> tuple[str, ...]:
    """Return the names that llama.cpp's system information sets to 1."""
    settings = (part.rpartition(":")[2].partition("=") for part in text.split("|"))
    return tuple(name.strip() for name, _, value in settings if value.strip() == "1")


def storage() -> Storage:
    """Return where models live and whether more could be had."""
    from importlib.util import find_spec

    from firesteel import config
    from firesteel.models import hub

    home = config.home()
    existing = next(folder for folder in (home, *home.absolute().parents) if folder.exists())
    return Storage(
        home=str(home),
        free_bytes=shutil.disk_usage(existing).free,
        offline=config.offline(),
        hub=hub.endpoint(),
        mirror_usable=find_spec("pip") is not None,
    )


def outlook(entry: "Entry", description: Machine, bandwidth: float) -> ModelOutlook:
    """Return what to expect of a catalogue model here; `bandwidth` (bytes a second) is DRAM's."""
    from firesteel import machine

    path = local_path(entry)
    size = entry.bytes or 0
    needed = weights_read(path) if path else size
    level = machine.level_of(needed, machine.caches())
    if level != machine.DRAM:
        bandwidth = machine.read_bandwidth(description.num_cores, size=needed)
    return ModelOutlook(
        name=entry.name,
        path=str(path) if path else None,
        file_bytes=size,
        fits=size + WORKING_BYTES <= description.memory_bytes,
        bytes_per_token=needed,
        level=level,
        read_bytes_per_second=bandwidth,
        expected_slow=REACHED[0] * bandwidth / needed,
        expected_fast=REACHED[1] * bandwidth / needed,
    )


def local_path(entry: "Entry") -> Path | None:
    """Return the file of a catalogue model, `None` when it is not on this machine or damaged."""
    from firesteel.models import files, pull

    path = pull.path_of(entry)
    return path if files.is_intact(path, entry.bytes, entry.sha256) else None


def weights_read(path: Path) -> int:
    """Return the bytes of weights that one decode step reads."""
    from firesteel.bench import roofline
    from firesteel.models import gguf

    return roofline.bytes_per_token(gguf.read_header(path))


def machine_table(diagnosis: Diagnosis) -> "Table":
    """Return what is known of the machine as a table."""
    from rich.table import Table

    machine, storage = diagnosis.machine, diagnosis.storage
    table = Table(title=f"firesteel {diagnosis.version}", show_header=False)
    table.add_row("processor", f"{machine.processor}, {machine.num_cores} cores")
    table.add_row("instructions", ", ".join(machine.instructions))
    table.add_row("memory", f"{machine.memory_bytes / 2**30:.1f} GiB")
    table.add_row("memory bandwidth", f"{diagnosis.read_bytes_per_second / 1e9:.1f} GB/s read, measured just now")
    table.add_row("caches", "; ".join(map(level_words, diagnosis.levels[:-1])))
    table.add_row("own kernels", diagnosis.native_kernels or "none")
    table.add_row("GPU", gpu_words(diagnosis.gpu))
    table.add_row("llama.cpp kernels", ", ".join(diagnosis.kernels))
    table.add_row("models live in", f"{storage.home} ({storage.free_bytes / 1e9:.0f} GB free)")
    table.add_row("sources", sources(storage))
    return table


def level_words(level: Level) -> str:
    """Return a level of the memory as people read it."""
    size = f"{level.bytes / 2**20:.3g} MiB" if level.bytes < 1 << 30 else f"{level.bytes / 2**30:.3g} GiB"
    return f"{level.name} ({size}) {level.read_bytes_per_second / 1e9:.0f} GB/s"


def gpu_words(found: "Found") -> str:
    """Return in words what the CUDA backend would run on, or why it would not."""
    versions = {"torch": found.torch, "CUDA": found.cuda, "triton": found.triton, "driver": found.driver}
    here = ", ".join(f"{name} {version}" for name, version in versions.items() if version is not None)
    devices = "; ".join(
        f"{device.name}, {device.memory_bytes / 2**30:.0f} GiB, compute capability {device.capability}"
        for device in found.devices
    )
    if found.problem is not None:
        return f"--backend cuda would not run: {found.problem}" + (f" (found: {here})" if here else "")
    return f"{devices} ({here}); no figure of --backend cuda has been measured yet"


def sources(storage: Storage) -> str:
    """Return in words where models can come from."""
    if storage.offline:
        return "none: FIRESTEEL_OFFLINE or HF_HUB_OFFLINE forbids the network"
    mirror = "then the Python package index" if storage.mirror_usable else "no mirror, since pip is missing"
    return f"{storage.hub}, {mirror}"


def model_table(models: tuple[ModelOutlook, ...]) -> "Table":
    """Return what to expect of each model as a table."""
    from rich.table import Table

    table = Table("model", "on disk", "size", "fits", "weights live in", "expected tokens/s")
    for model in models:
        speed = f"{model.expected_slow:.0f} to {model.expected_fast:.0f}"
        size = f"{model.file_bytes / 1e6:.0f} MB"
        home = f"{model.level}, {model.read_bytes_per_second / 1e9:.0f} GB/s"
        table.add_row(model.name, "yes" if model.path else "no", size, "yes" if model.fits else "no", home, speed)
    return table
