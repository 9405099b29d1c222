"""A backend of ours that computes steps for `bench step`: `python -m firesteel.bench.step_ours CONFIG`."""

import sys

import msgspec

from firesteel.backend import open_backend
from firesteel.backend.base import Backend, Rows, Want
from firesteel.bench.stepping import Json, Stepper, serve
from firesteel.config import EngineConfig


class BackendStepper:
    """One sequence of a backend, stepped as verification does: all rows but the first are a draft."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def about(self) -> Json:
        """Return the backend's own name, whatever `--backend` said, and what its states depend on."""
        module = type(self._backend).__module__.removeprefix("firesteel.backend.")
        said = self._backend.state_fingerprint.split()
        return {"name": module.split(".")[0], "version": " ".join(word for word in said if "model=" not in word)}

    def compute(self, tokens: list[int], position: int, num_wanted: int) -> None:
        """Submit and wait, as the engine does."""
        want = Want.BEST if num_wanted else Want.NONE
        self._backend.submit([Rows(0, position, tokens, want, num_draft=max(num_wanted - 1, 0))])
        self._backend.wait()

    def trim(self, to: int) -> None:
        """Drop the KV from position `to` on."""
        self._backend.trim(0, to)

    def bytes_read(self) -> int | None:
        """Return the backend's own count, `bytes_read`, where it keeps one."""
        found: int | None = getattr(self._backend, "bytes_read", None)
        return found


def make() -> tuple[Stepper, int]:
    """Open the backend that the first argument describes."""
    backend = open_backend(msgspec.json.decode(sys.argv[1], type=EngineConfig))
    return BackendStepper(backend), backend.capabilities.chunk_rows


if __name__ == "__main__":
    serve(make)
