"""Packed weights go to a folder of the test run."""

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if "FIRESTEEL_HOME" not in os.environ:
            patch.setenv("FIRESTEEL_HOME", str(tmp_path_factory.mktemp("home")))
        yield
