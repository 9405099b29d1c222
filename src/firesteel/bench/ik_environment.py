"""The virtual environment of ik_llama.cpp, made once: its library may not share a process, or numpy, with ours."""

import os
import shutil
import subprocess
import sys
import venv
from importlib.util import find_spec
from pathlib import Path

from firesteel import config
from firesteel.errors import ConfigError
from firesteel.models import files

VERSION = "0.1.5"
REQUIREMENT = f"ik-llama-cpp-python=={VERSION}"
DONE = "complete"  # a file in it; without, it was left half made


def folder() -> Path:
    """Return where the environment is, or will be: one for each version of Python."""
    return config.home().absolute() / "peers" / f"ik-{VERSION}-{sys.implementation.cache_tag}"


def is_ready() -> bool:
    """Return whether the environment is there."""
    return (folder() / DONE).exists()


def python() -> Path:
    """Return the environment's Python, made first where there is none. Raises `ConfigError` when pip fails."""
    found = folder()
    if not is_ready():
        found.parent.mkdir(parents=True, exist_ok=True)
        with files.locked(found, files.silent):
            if not is_ready():
                make(found)
    return found / "bin" / "python"


def make(where: Path) -> None:
    """Make the environment; a failure leaves none."""
    if config.offline():
        raise ConfigError(f"--vs ik needs {REQUIREMENT}, and FIRESTEEL_OFFLINE or HF_HUB_OFFLINE forbids the network")
    shutil.rmtree(where, ignore_errors=True)
    try:
        venv.create(where, with_pip=True)
        install(where / "bin" / "python")
        (where / DONE).touch()
    finally:
        if not (where / DONE).exists():
            shutil.rmtree(where, ignore_errors=True)


def install(python: Path) -> None:
    """Let pip install ik_llama.cpp. Raises `ConfigError` with what pip said last."""
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet", REQUIREMENT]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"])[-1]
        raise ConfigError(
            f"pip cannot install {REQUIREMENT}: {last.removeprefix('ERROR: ')}; or leave `ik` out of --vs"
        )


def environ() -> dict[str, str]:
    """Return the environment variables with which its Python finds our `bench.stepping`."""
    spec = find_spec("firesteel")
    assert spec is not None
    assert spec.origin is not None
    return os.environ | {"PYTHONPATH": str(Path(spec.origin).parents[1])}
