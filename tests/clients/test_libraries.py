"""Libraries and small commands: the JavaScript SDK, and `llm` with chat, completions and a tool."""

import json
from pathlib import Path

import pytest

from tests.clients.conftest import HELLO
from tests.clients.installed import User, client
from tests.server.live import Live

pytestmark = [pytest.mark.clients, pytest.mark.timeout(240)]

PROGRAM = Path(__file__).parent / "openai.mjs"


def test_the_javascript_sdk(someone: User, clients_server: Live) -> None:
    module = Path(client("openai-js")).as_uri()
    said = json.loads(someone.run("node", str(PROGRAM), module, f"{clients_server.url}/v1"))
    assert said == {
        "models": ["scripted"],
        "streamed": HELLO,
        "whole": HELLO,
        "tool": {"name": "get_weather", "arguments": {"city": "Oslo"}},
        "after_tool": "The tool answered: rain in Oslo",
        "parsed": {"ok": True},
        "completion": HELLO,
        "noted": ["user"],
        "error": [400, "temperature"],
        "left_early": True,
    }


def test_llm_chats_completes_and_calls_a_tool(someone: User) -> None:
    llm = client("llm")
    someone.setup("llm")
    assert someone.run(llm, "-m", "firesteel", "hello").strip() == HELLO
    assert someone.run(llm, "-m", "firesteel-completion", "hello", "-o", "max_tokens", "40").strip() == HELLO
    version = someone.run(llm, "--version").split()[-1]
    assert version in someone.run(llm, "-m", "firesteel", "-T", "llm_version", "which version is it?")
