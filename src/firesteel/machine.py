"""The machine that we run on: what it is, and what its memory and its arithmetic can do at most.

Both peaks are *observed*, not looked up: the best of a few runs of a simple loop. They are the ceilings that
`firesteel bench` prints beside its results and that `firesteel doctor` derives its expectations from.
"""

import os
import platform
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

INSTRUCTIONS = (
    "avx2",
    "f16c",
    "fma",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_int8",
    "asimddp",
    "i8mm",
    "sve",
)
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
DRAM = "DRAM"  # beyond all caches
PASS_BYTES = 64 << 20  # read by one run at least: handing work to threads must cost nothing beside it
CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")
MATRIX_ROWS = 1536  # three float32 matrices of 9 MB: large enough for full speed, small enough for 0.1 s a run


class Cache(msgspec.Struct, frozen=True):
    """One level of the processor's caches: `bytes` is what the cores that we may use have of it together."""

    level: str  # L1, L2, L3
    bytes: int


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in a benchmark's result, so that figures are compared only where they may be."""

    processor: str
    num_cores: int  # physical cores that this process may use
    instructions: tuple[str, ...]  # those that matter to matrix kernels
    memory_bytes: int
    cache_bytes: int  # the last level, as one core sees it
    system: str


def describe() -> Machine:
    """Return what this machine is."""
    fields = processor_fields()
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    return Machine(
        processor=processor_name(fields),
        num_cores=num_cores(),
        instructions=tuple(name for name in INSTRUCTIONS if name in flags),
        memory_bytes=memory_bytes(),
        cache_bytes=cache_bytes(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
    )


def processor_name(fields: dict[str, str]) -> str:
    """Return the processor's name; with family and model where known, as clouds call many of them the same."""
    name = fields.get("model name") or platform.processor() or platform.machine()
    family, model = fields.get("cpu family"), fields.get("model")
    return f"{name} (family {family}, model {model})" if family and model else name


def processor_fields() -> dict[str, str]:
    """Return what the kernel says about the first processor; empty where there is no /proc."""
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0]
    except OSError:
        return {}
    lines = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in lines}


def num_cores() -> int:
    """Return how many physical cores this process may use, at least 1."""
    import psutil

    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, psutil.cpu_count(logical=False) or allowed))


def memory_bytes() -> int:
    """Return the memory that this process may use: the machine's, or its container's when that is less."""
    import psutil

    total: int = psutil.virtual_memory().total
    return min([total, *(limit for limit, _ in cgroup_memory())])


def available_bytes() -> int:
    """Return the memory that this process could still take without swapping, in the machine and in its containers."""
    import psutil

    free: int = psutil.virtual_memory().available
    return max(0, min([free, *(limit - used for limit, used in cgroup_memory())]))


def cgroup_memory() -> list[tuple[int, int]]:
    """Return limit and use, in bytes, of each control group around this process that has a limit.

    Version 2 is `memory.max`, version 1 `memory.limit_in_bytes`; inside a container only the root may be visible.
    Cached files count as use there, but go when memory is wanted, so they are taken off.
    """
    names = ("memory.max", "memory.current", "inactive_file", "active_file")
    found = [usage(folder, *names) for folder in cgroup_folders(CGROUPS, "")]
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file", "total_active_file")
    found += [usage(folder, *names) for folder in cgroup_folders(CGROUPS / "memory", "memory")]
    return [pair for pair in found if pair is not None]


def cgroup_folders(root: Path, controller: str) -> list[Path]:
    """Return the folders of this process's control group and those around it, `root` last.

    `controller` is empty for version 2 (cgroups(7), /proc/pid/cgroup).
    """
    try:
        lines = [line.split(":", 2) for line in OWN_CGROUPS.read_text().splitlines()]
    except OSError:
        return [root]
    own = next((path for _, names, path in lines if controller in names.split(",")), "/")
    inner = Path(own.lstrip("/"))
    return [root / inner, *(root / outer for outer in inner.parents)] if inner.parts else [root]


def usage(folder: Path, limit: str, used: str, *cached: str) -> tuple[int, int] | None:
    """Return limit and use of one control group; None where it has no limit (or "max")."""
    try:
        statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        most, taken = int((folder / limit).read_text()), int((folder / used).read_text())
    except (OSError, ValueError):
        return None
    return most, taken - sum(int(statistics.get(name, 0)) for name in cached)


def cache_bytes() -> int:
    """Return the size of the last-level cache, 32 MiB where the kernel does not say."""
    sizes = [path.read_text().strip() for path in CACHES.glob("index*/size")]
    return max((int(size.rstrip("K")) * 1024 for size in sizes if size.endswith("K")), default=32 << 20)


def caches() -> tuple[Cache, ...]:
    """Return the levels that hold data, the smallest first; empty where the kernel does not say."""
    found = [_cache(folder) for folder in sorted(CACHES.glob("index*"))]
    return tuple(cache for cache in found if cache is not None)


def _cache(folder: Path) -> Cache | None:
    """Return the cache that a folder of sysfs describes; None for one of instructions only."""
    try:
        kind, level, size, shared = (
            (folder / name).read_text().strip() for name in ("type", "level", "size", "shared_cpu_list")
        )
        if kind == "Instruction" or not size.endswith("K"):
            return None
        num_caches = max(1, round(num_cores() / max(1, num_listed(shared))))
        return Cache(f"L{int(level)}", int(size[:-1]) * 1024 * num_caches)
    except (OSError, ValueError):
        return None


def num_listed(processors: str) -> int:
    """Return how many processors the kernel lists, such as in "0-3,8"."""
    ranges = (part.partition("-") for part in processors.split(","))
    return sum(int(last or first) - int(first) + 1 for first, _, last in ranges)


def level_of(num_bytes: int, levels: tuple[Cache, ...]) -> str:
    """Return the first of the levels that holds so much, read again and again; DRAM where none does."""
    return next((cache.level for cache in levels if num_bytes <= cache.bytes), DRAM)


def load_average() -> float:
    """Return how many processes wanted a core in the last minute; above 0.5, do not trust a figure."""
    return os.getloadavg()[0]


def read_bandwidth(num_threads: int, *, size: int | None = None, runs: int = 12) -> float:
    """Return the most bytes a second that `num_threads` threads read together, again and again, from `size` bytes.

    Each thread takes the maximum of its share of the buffer (a vectorised read with next to no arithmetic; numpy
    lets go of the interpreter lock meanwhile). Without a size it is DRAM that is read (`dram_bytes`).
    Best of `runs`, of some 10 ms each.
    """
    import numpy as np

    size = min(size, memory_bytes() // 8) if size else dram_bytes()
    buffer = np.ones(max(size // 8, num_threads), dtype=np.int64)  # ones, since zero pages would share one frame
    passes = max(1, PASS_BYTES // buffer.nbytes)

    def read(part: "npt.NDArray[np.int64]") -> None:
        again = np.lib.stride_tricks.as_strided(part, (passes, part.size), (0, part.itemsize), writeable=False)
        np.maximum.reduce(again, axis=1)

    parts = np.array_split(buffer, num_threads)
    with ThreadPoolExecutor(num_threads) as pool:
        return passes * buffer.nbytes / best_seconds(lambda: list(pool.map(read, parts)), runs)


def dram_bytes() -> int:
    """Return how much is read to measure DRAM: four last-level caches, and not so much that memory gets short."""
    return min(max(4 * cache_bytes(), 256 << 20), memory_bytes() // 8)


def matrix_rate(*, runs: int = 5) -> float:
    """Return the most float32 multiply-adds a second in one matrix product (numpy's BLAS, all cores).

    It is the ceiling of *float32* arithmetic. Kernels on 8-bit integers may pass it, and do where the
    processor has VNNI or AMX.
    """
    import numpy as np

    left = np.ones((MATRIX_ROWS, MATRIX_ROWS), dtype=np.float32)
    right = left.copy()
    return MATRIX_ROWS**3 / best_seconds(lambda: left @ right, runs)


def best_seconds(work: Callable[[], object], runs: int) -> float:
    """Return the shortest time that `work` took; the first, cold run is not counted."""
    work()
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
