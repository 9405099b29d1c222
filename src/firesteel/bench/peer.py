"""The stock llama.cpp server of the PyPI package `xllamacpp` as a process: `python -m firesteel.bench.peer`.

Everything stays at llama.cpp's defaults but the number of threads, which is that of the cores. It ends when
its standard input closes, so it cannot outlive the benchmark that started it.
"""

import sys

NAME = "llama-server"
MODULE = "firesteel.bench.peer"


def command(model: str, port: int, num_threads: int) -> list[str]:
    """Return the command line that starts the peer."""
    return [sys.executable, "-m", MODULE, model, str(port), str(num_threads)]


def describe() -> str:
    """Return name and version of the peer. Raises `ConfigError` when it is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    from firesteel.errors import ConfigError

    try:
        return f"{NAME} (xllamacpp {version('xllamacpp')})"
    except PackageNotFoundError:
        raise ConfigError("--vs llama-server needs xllamacpp: run `.venv/bin/pip install -e '.[bench]'`") from None


def main(model: str, port: str, num_threads: str) -> None:
    """Serve `model` until standard input closes."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.port = int(port)
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(num_threads)
    server = xllamacpp.Server(params)
    sys.stdin.read()
    del server


if __name__ == "__main__":
    main(*sys.argv[1:])
