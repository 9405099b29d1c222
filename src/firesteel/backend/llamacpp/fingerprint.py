"""What a saved KV depends on, in one line: states with another line must not be loaded."""

import functools
import hashlib
import os
from pathlib import Path

from firesteel.config import EngineConfig

FORMAT = 1  # of `states.py`; raise it when old states must not be read any more
HEAD_BYTES = 8 << 20  # holds the GGUF header: metadata, vocabulary, tensor list
NUM_SAMPLES = 64
SAMPLE_BYTES = 64 << 10


def fingerprint(path: str, config: EngineConfig, version: str, *, flash_attention: bool, long_factors: bool) -> str:
    """Return the line for the model file at `path` run under `config` by llama-cpp-python `version`.

    Flash attention changes the layout of the values; `long_factors` says that rope factors of a long context are used.
    """
    parts = {
        "firesteel-kv": FORMAT,
        "backend": f"llamacpp-{version}",
        "model": identity(path),
        "kv": config.kv_type,
        "flash": int(flash_attention),
        "yarn": config.yarn or 1,
        "long": int(long_factors),
    }
    return " ".join(f"{name}={value}" for name, value in parts.items())


def identity(path: str) -> str:
    """Return size and digest of a model file. OSError where it cannot be read."""
    status = os.stat(path)
    return _identity(str(Path(path).absolute()), status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _identity(path: str, size: int, _: int) -> str:
    """Digest the header and evenly spread samples of the weights; 12 ms when the file is in the page cache.

    SHA-256, since processors have instructions for it: twice as fast as BLAKE2b here.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        digest.update(file.read(HEAD_BYTES))
        for index in range(NUM_SAMPLES):
            file.seek(max(size - SAMPLE_BYTES, 0) * index // (NUM_SAMPLES - 1))
            digest.update(file.read(SAMPLE_BYTES))
    return f"{size}-{digest.hexdigest()[:32]}"
