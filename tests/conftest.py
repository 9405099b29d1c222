"""Fixtures that tests of several folders share."""

from collections.abc import Iterator

import openai
import pytest

from tests.engine.helpers import Bench
from tests.server.live import Live, serving


@pytest.fixture(autouse=True)
def no_disk_thread_outlives_its_test() -> Iterator[None]:
    """Close the engines that a test made and left."""
    yield
    while Bench.made:
        Bench.made.pop().engine.close()


@pytest.fixture(scope="session")
def shared_server() -> Iterator[Live]:
    """One scripted server for all tests that leave it as it was."""
    with serving("--max-live", "32") as live:
        yield live


@pytest.fixture
def server(shared_server: Live) -> Iterator[Live]:
    """The shared server; the test must leave no sequence in it."""
    yield shared_server
    shared_server.wait_idle()


@pytest.fixture
def client(server: Live) -> Iterator[openai.OpenAI]:
    """The official SDK on the shared server."""
    with server.openai() as client:
        yield client
