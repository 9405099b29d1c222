"""A server that says what the clients' tests need, and a user who points clients at it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from firesteel.wire.response_tools import custom_call
from tests.clients.installed import MISSING, User
from tests.server.live import Live, serving

NOTES = "the secret number is 4711"
HELLO = "Hello from Firesteel."
NEW_FILE = "greet.py\n```python\n<<<<<<< SEARCH\n=======\nprint('hello')\n>>>>>>> REPLACE\n```\n"

PATCH = "*** Begin Patch\n*** Add File: new.txt\n+made by a patch\n*** End Patch"


def call(name: str, **arguments: str) -> str:
    return f"I look.\n<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


RESPONSES_RULES: list[dict[str, Any]] = [
    {"match": "codex, make the file", "when": "user", "say": "I do.\n" + custom_call("functions.apply_patch", PATCH)},
    {"match": "codex, run it", "when": "user", "say": call("exec_command", cmd="echo it-$((40+2))-ran")},
    {"match": "copilot, run it", "when": "user", "say": call("bash", command="echo it-$((40+2))-ran", description="d")},
    {"match": "(?s).*write on and on", "step_ms": 20},
]


def rules(notes: str) -> list[dict[str, Any]]:
    """Return what is said: each client's own tool reads the notes, then what it said is repeated."""
    return [
        {"match": "claude, read the notes", "when": "user", "say": call("Read", file_path=notes)},
        {"match": "opencode, read the notes", "when": "user", "say": call("read", filePath=notes)},
        {"match": "cn, read the notes", "when": "user", "say": call("Read", filepath=notes)},
        {"match": "which version", "when": "user", "say": call("llm_version")},
        {"match": "the weather", "when": "user", "say": call("get_weather", city="Oslo")},
        {"match": "greet the user", "when": "user", "say": NEW_FILE},
        *RESPONSES_RULES,
        {"match": "", "when": "user", "say": HELLO},
    ]


@pytest.fixture(scope="session")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that agents are asked to read."""
    return tmp_path_factory.mktemp("home") / "project" / "notes.txt"


@pytest.fixture(scope="session")
def clients_server(notes: Path) -> Iterator[Live]:
    with serving(script={"rules": rules(str(notes))}) as live:
        yield live


@pytest.fixture(scope="session")
def someone(clients_server: Live, notes: Path) -> User:
    """One user for all clients, so that what they write at their first start is written once."""
    user = User(notes.parents[1], clients_server.url)
    notes.write_text(NOTES)
    return user


@pytest.fixture(autouse=True)
def nothing_is_left(clients_server: Live) -> Iterator[None]:
    yield
    clients_server.wait_idle()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A client that could not be tested must not go unnoticed."""
    if MISSING:
        names = " ".join(sorted(MISSING))
        terminalreporter.write_line(
            f"NOT TESTED, because not installed: {names} (scripts/install-clients.sh {names})", red=True, bold=True
        )
