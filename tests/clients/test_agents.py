"""Agents as users run them, configured by `firesteel setup`: they answer, and they close their tool loop."""

import json

import pytest

from tests.clients.conftest import HELLO, NOTES
from tests.clients.installed import User, client
from tests.server.live import Live

pytestmark = [pytest.mark.clients, pytest.mark.timeout(240)]


def test_claude_code_reads_a_file(someone: User) -> None:
    claude = client("claude")
    someone.setup("claude")
    said = json.loads(someone.run(claude, "-p", "claude, read the notes", "--output-format", "json"))
    assert said["subtype"] == "success"
    assert said["num_turns"] == 2
    assert NOTES in said["result"]


def test_claude_codes_second_turn_is_warm(someone: User, clients_server: Live) -> None:
    """Its system prompt and tools, most of the request, are computed once, whatever its billing line says."""
    claude = client("claude")
    someone.setup("claude")
    for _ in range(2):
        said = json.loads(someone.run(claude, "-p", "hello", "--output-format", "json"))
    assert said["result"] == HELLO
    num_warm, num_computed = said["usage"]["cache_read_input_tokens"], said["usage"]["input_tokens"]
    assert num_warm > 0.9 * (num_warm + num_computed)


def test_opencode_reads_a_file(someone: User) -> None:
    opencode = client("opencode")
    someone.setup("opencode")
    assert NOTES in someone.run(opencode, "run", "opencode, read the notes")


def test_continues_cn_answers_and_reads_a_file(someone: User) -> None:
    cn = client("cn")
    someone.setup("continue")
    configured = str(someone.home / ".continue" / "config.yaml")
    said = someone.run(cn, "--config", configured, "-p", "hello")
    assert HELLO in said
    assert NOTES in someone.run(cn, "--config", configured, "-p", "cn, read the notes")


def test_aider_edits_a_file_and_commits_it(someone: User) -> None:
    aider = client("aider")
    someone.setup("aider")
    who = {
        f"GIT_{role}_{what}": "someone@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    someone.run("git", "init", "--quiet")
    asked = ("--yes-always", "--no-show-release-notes", "--no-gitignore", "--message", "greet the user", "greet.py")
    someone.run(aider, *asked, env=who)
    assert (someone.project / "greet.py").read_text() == "print('hello')\n"
    assert "greet.py" in someone.run("git", "ls-files")
