"""Opens model files with the native backend, one after the other, and prints a line of JSON for each.

A process of its own, so that a crash is a failed test and not the end of the run: python -m … FOLDER NAME …
"""

import json
import os
import sys
from pathlib import Path

from firesteel.backend.base import Rows, Want
from firesteel.errors import ConfigError, EngineFailure, ModelError
from tests.backend.native.models import TOKENS, all_logits, open_model


def outcome(path: Path) -> str:
    """What became of the file: `works`, or the class and words of an error."""
    try:
        backend = open_model(path, max_live=2, context_tokens=64)
    except (ModelError, ConfigError) as error:
        return f"{type(error).__name__}: {error}"
    try:
        all_logits(backend, TOKENS[:20])
        backend.submit([Rows(0, 0, TOKENS[:60], Want.BEST)])
        backend.wait()
        assert backend.load(1, bytes(backend.save(0)))
    except EngineFailure as error:
        return f"EngineFailure: {error}"
    finally:
        backend.close()
    return "works"


def main() -> None:
    """Open all; anything that is no error of ours is an error here."""
    folder, *names = sys.argv[1:]
    for name in names:
        print(json.dumps([name, outcome(Path(folder) / name)]), flush=True)
    os._exit(0)  # nothing of a backend that could not be opened keeps the process


if __name__ == "__main__":
    main()
