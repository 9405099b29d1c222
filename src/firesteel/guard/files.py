"""Which files are scanned, and which of their lines."""

import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from firesteel.errors import ConfigError

SKIPPED_FOLDERS = frozenset(
    (
        ".git",
        ".hg",
        ".svn",
        "node_modules",
        ".venv",
        "venv",
        "__pycache__",
        ".tox",
        ".mypy_cache",
        ".ruff_cache",
        "dist",
        "build",
    )
)
MAX_BYTES = 2_000_000  # of one file; what is larger was not written by hand
HUNK = re.compile(r"^@@ -\d+(?:,\d+)? \+(\d+)(?:,(\d+))? @@")
AddedLines = dict[str, set[int]]


def files_in(paths: Iterable[str]) -> Iterator[Path]:
    """Yield the files named by `paths`, folders walked in order. Raises ConfigError for a path that is not there."""
    for each in paths:
        path = Path(each)
        if path.is_file():
            yield path
        elif path.is_dir():
            yield from _walked(path)
        else:
            raise ConfigError(f"{each}: no such file or folder", param="paths")


def _walked(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in SKIPPED_FOLDERS)
        yield from (Path(root) / name for name in sorted(names) if (Path(root) / name).is_file())


def read(path: Path) -> str | None:
    """Return the text of a file, None when it is binary or too large. Raises ConfigError when it cannot be read."""
    try:
        if path.stat().st_size > MAX_BYTES:
            return None
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", param="paths") from None
    return None if b"\0" in data[:8192] else data.decode(errors="replace")


def added_lines(diff: str) -> AddedLines:
    """Return the lines (from 1) that a unified diff adds, by file name as the diff writes it."""
    found: AddedLines = {}
    lines: set[int] = set()
    number = 0
    for line in diff.splitlines():
        if line.startswith("+++ "):
            name = line[4:].split("\t")[0].strip('"')
            lines = found.setdefault(name[2:] if name.startswith(("a/", "b/")) else name, set())
        elif hunk := HUNK.match(line):
            number = int(hunk[1])
        elif line.startswith("+"):
            lines.add(number)
            number += 1
        elif line.startswith(" "):
            number += 1
    found.pop("/dev/null", None)
    return found


def git_diff(paths: Iterable[str]) -> AddedLines:
    """Return the lines added since the last commit, staged or not, of files below `paths`. Raises ConfigError."""
    command = ["git", "diff", "--no-ext-diff", "--no-color", "--relative", "-U0", "HEAD", "--", *paths]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, errors="replace")
    except OSError as error:
        raise ConfigError(f"`--diff` asks git, which cannot be run: {error.strerror}", param="diff") from None
    if done.returncode:
        raise ConfigError(f"`--diff`: git says: {done.stderr.strip() or 'no reason'}", param="diff")
    return added_lines(done.stdout)
