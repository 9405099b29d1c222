from collections.abc import Iterator
from pathlib import Path

import pytest

from firesteel.backend.native.backend import NativeBackend
from tests.backend.native.models import ARCHITECTURES
from tests.backend.native.running import empty, open_architecture


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A home of the tests' own: packed copies of tiny models are of no use to the user."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRESTEEL_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module", params=ARCHITECTURES)
def shared(request: pytest.FixtureRequest, folder: Path) -> Iterator[NativeBackend]:
    opened = open_architecture(folder, request.param, num_threads=2)
    yield opened
    opened.close()


@pytest.fixture
def backend(shared: NativeBackend) -> NativeBackend:
    empty(shared)
    return shared
