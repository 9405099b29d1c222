import subprocess

import pytest

from firesteel.models.catalogue import DEFAULT
from tests.server.live import environment, firesteel

ONLINE = {"FIRESTEEL_OFFLINE": ""}


@pytest.fixture(scope="session")
def model() -> str:
    """The default model, pulled if it is missing."""
    subprocess.run(firesteel("models", "pull", DEFAULT), check=True, timeout=1800, env=environment(ONLINE))
    return DEFAULT
