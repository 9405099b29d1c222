"""The stock llama.cpp server of the PyPI package `xllamacpp` as a process: `python -m firesteel.bench.peer`.

Everything stays at llama.cpp's defaults but the number of threads, which is that of the cores, and what a
benchmark must set for both servers alike, such as the memory. It ends when its standard input closes, so it
cannot outlive the benchmark that started it.
"""

import json
import sys
from collections.abc import Mapping
from enum import Enum
from functools import reduce
from typing import Any

NAME = "llama-server"
MODULE = "firesteel.bench.peer"


def command(model: str, port: int, num_threads: int, settings: Mapping[str, Any] | None = None) -> list[str]:
    """Return the command line that starts the peer; `settings` are set as `configure` says."""
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
    """Set attributes of `params`, xllamacpp's `CommonParams`; dots lead into parts of it, enum members go by name.

    Raises `AttributeError` for an attribute that this version does not have, `KeyError` for such a member.
    """
    for path, value in settings.items():
        *parents, name = path.split(".")
        target = reduce(getattr, parents, params)
        setattr(target, name, _in_kind(getattr(target, name), value))


def _in_kind(current: object, value: Any) -> Any:
    """Return `value` as what stands there now: names become members where that is a list of an enum's."""
    if isinstance(current, list) and current and isinstance(current[0], Enum):
        return [type(current[0])[name] for name in value]
    return value


if __name__ == "__main__":
    main(*sys.argv[1:])
