"""Codex CLI over the WebSocket, configured by `firesteel setup codex`: its tool loops, steering and interrupting."""

import json
from typing import Any

import pytest

from tests.clients.app_server import app_server, words
from tests.clients.conftest import HELLO
from tests.clients.installed import User, client
from tests.server.live import Live

pytestmark = [pytest.mark.clients, pytest.mark.timeout(240)]


@pytest.fixture
def codex(someone: User) -> str:
    path = client("codex")
    someone.setup("codex")
    return path


def execute(someone: User, codex: str, prompt: str) -> list[dict[str, Any]]:
    """Return the events of `codex exec`."""
    options = ("--json", "--skip-git-repo-check", "--sandbox", "workspace-write")
    return [json.loads(line) for line in someone.run(codex, "exec", *options, prompt).splitlines()]


def items(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    done = [event["item"] for event in events if event["type"] == "item.completed"]
    return [item for item in done if item["type"] == kind]


def test_it_answers(someone: User, codex: str) -> None:
    events = execute(someone, codex, "hello")
    assert [item["text"] for item in items(events, "agent_message")] == [HELLO]
    assert events[-1]["type"] == "turn.completed"


def test_it_patches_a_file(someone: User, codex: str) -> None:
    """The call is a custom tool's: plain text under Codex's own Lark grammar."""
    (change,) = items(execute(someone, codex, "codex, make the file"), "file_change")
    assert change["status"] == "completed"
    assert (someone.project / "new.txt").read_text() == "made by a patch\n"


def test_it_runs_a_command(someone: User, codex: str) -> None:
    (ran,) = items(execute(someone, codex, "codex, run it"), "command_execution")
    assert (ran["exit_code"], ran["aggregated_output"]) == (0, "it-42-ran\n")


def test_it_is_steered_in_mid_answer(someone: User, codex: str) -> None:
    with app_server(codex, someone) as server:
        thread, turn = server.begin(someone, "write on and on")
        server.until("item/agentMessage/delta")
        server.ask("turn/steer", threadId=thread, expectedTurnId=turn, input=words("hello"))
        text = ""
        while HELLO not in text:
            text = str(server.until("item/completed")["item"].get("text"))
        assert server.until("turn/completed")["turn"]["status"] == "completed"


def test_it_is_interrupted(someone: User, codex: str, clients_server: Live) -> None:
    with app_server(codex, someone) as server:
        thread, turn = server.begin(someone, "write on and on")
        server.until("item/agentMessage/delta")
        server.ask("turn/interrupt", threadId=thread, turnId=turn)
        assert server.until("turn/completed")["turn"]["status"] == "interrupted"
        clients_server.wait_idle()
