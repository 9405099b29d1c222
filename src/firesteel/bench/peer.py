"""The stock llama.cpp server of the PyPI package `xllamacpp` as a process: `python -m firesteel.bench.peer`.

Everything stays at llama.cpp's defaults but the number of threads, which is that of the cores, and what a
benchmark must set for both servers alike, such as the memory. It ends when its standard input closes, so it
cannot outlive the benchmark that started it.
"""

import json
import sys
from collections.abc import Mapping
from typing import Any

NAME = "llama-server"
MODULE = "firesteel.bench.peer"


def command(model: str, port: int, num_threads: int, settings: Mapping[str, Any] | None = None) -> list[str]:
    """Return the command line that starts the peer; `settings` are attributes of its `CommonParams`."""
    return [sys.executable, "-m", MODULE, model, str(port), str(num_threads), json.dumps(dict(settings or {}))]


def describe() -> str:
    """Return name and version of the peer. Raises `ConfigError` when it is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    from firesteel.errors import ConfigError

    try:
        return f"{NAME} (xllamacpp {version('xllamacpp')})"
    except PackageNotFoundError:
        raise ConfigError("--vs llama-server needs xllamacpp: run `.venv/bin/pip install -e '.[bench]'`") from None


def main(model: str, port: str, num_threads: str, settings: str) -> None:
    """Serve `model` until standard input closes."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.port = int(port)
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(num_threads)
    configure(params, json.loads(settings))
    server = xllamacpp.Server(params)
    sys.stdin.read()
    del server


def configure(params: Any, settings: Mapping[str, Any]) -> None:
    """Set attributes of `params`. Raises `AttributeError` for one that this version does not have."""
    for name, value in settings.items():
        getattr(params, name)
        setattr(params, name, value)


if __name__ == "__main__":
    main(*sys.argv[1:])
