"""Copilot CLI over the WebSocket: it answers, and it closes its tool loop."""

import pytest

from tests.clients.conftest import HELLO
from tests.clients.installed import User, client
from tests.server.live import Live

pytestmark = [pytest.mark.clients, pytest.mark.timeout(240)]


def run(someone: User, server: Live, prompt: str) -> str:
    copilot = client("copilot")
    env = {
        "COPILOT_PROVIDER_BASE_URL": f"{server.url}/v1",
        "COPILOT_PROVIDER_TYPE": "openai",
        "COPILOT_PROVIDER_API_KEY": "any",
        "COPILOT_PROVIDER_WIRE_API": "responses",
        "COPILOT_PROVIDER_TRANSPORT": "websockets",
        "COPILOT_MODEL": "scripted",
        "COPILOT_OFFLINE": "true",
    }
    return someone.run(copilot, "--allow-all-tools", "-p", prompt, env=env)


def test_it_answers(someone: User, clients_server: Live) -> None:
    before = clients_server.metric("firesteel_sockets_total")
    assert HELLO in run(someone, clients_server, "hello")
    assert clients_server.metric("firesteel_sockets_total") > before


def test_it_runs_a_command(someone: User, clients_server: Live) -> None:
    assert "it-42-ran" in run(someone, clients_server, "copilot, run it")
