import subprocess
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from firesteel.models.catalogue import DEFAULT
from tests.server.live import Live, environment, firesteel, serving

ONLINE = {"FIRESTEEL_OFFLINE": ""}


@pytest.fixture(scope="session")
def model() -> str:
    """The default model, pulled if it is missing."""
    subprocess.run(firesteel("models", "pull", DEFAULT), check=True, timeout=1800, env=environment(ONLINE))
    return DEFAULT


@pytest.fixture(scope="module")
def real(model: str) -> Iterator[Live]:
    with serve("--context", "8192") as live:
        yield live


@pytest.fixture
def client(real: Live) -> Iterator[openai.OpenAI]:
    with real.openai(timeout=200) as client:
        yield client
    real.wait_idle()


def serve(*arguments: str) -> Any:
    """Return a context in which the default model is served."""
    return serving(
        command=lambda port, _: firesteel("serve", "--port", str(port), "--disk-cache", "0", *arguments), env=ONLINE
    )
