"""The CUDA backend on PyTorch's CPU device: the same code as on a GPU but for graphs and compiled kernels.

PyTorch is no part of the development install (scripts/install-torch.sh); without it these tests are left out, and
the end of the run says so.
"""

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.backend.native.models import ARCHITECTURES, model

if TYPE_CHECKING:
    from firesteel.backend.cuda.backend import CudaBackend

os.environ.setdefault("TRITON_INTERPRET", "1")  # before Triton is first imported
HAS_TORCH = importlib.util.find_spec("torch") is not None
HAS_TRITON = importlib.util.find_spec("triton") is not None
HAS_SAFETENSORS = importlib.util.find_spec("safetensors") is not None
FOUND = {"torch": HAS_TORCH, "triton": HAS_TRITON, "safetensors": HAS_SAFETENSORS}
NEED_NOTHING = {"test_pages.py", "test_device.py", "__init__.py", "conftest.py"}
NEED_TRITON = {"test_kernels.py"}


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out what cannot be imported."""
    if collection_path.is_dir() or collection_path.name in NEED_NOTHING:
        return None
    is_missing = not HAS_TORCH or (collection_path.name in NEED_TRITON and not HAS_TRITON)
    is_missing = is_missing or (collection_path.name == "test_folder.py" and not HAS_SAFETENSORS)
    return True if is_missing else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was left out must not go unnoticed."""
    missing = [name for name, here in FOUND.items() if not here]
    if missing:
        terminalreporter.write_line(
            f"NOT TESTED: backend/cuda, because not installed: {' '.join(missing)} (scripts/install-torch.sh)",
            red=True,
            bold=True,
        )


@pytest.fixture(scope="session", autouse=True)
def on_the_processor() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRESTEEL_TORCH_DEVICE", "cpu")
        yield


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A home of the tests' own: packed copies of tiny models are of no use to the user."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRESTEEL_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module", params=ARCHITECTURES)
def shared(request: pytest.FixtureRequest, folder: Path) -> Iterator["CudaBackend"]:
    from tests.backend.cuda.running import SMALL, open_cuda

    opened = open_cuda(model(folder, request.param, "f16", sizes=SMALL))
    yield opened
    opened.close()


@pytest.fixture
def backend(shared: "CudaBackend") -> "CudaBackend":
    for sequence in range(shared.capabilities.max_sequences):
        shared.trim(sequence, 0)
    return shared
