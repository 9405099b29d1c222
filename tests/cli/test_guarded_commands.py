"""`run`, `complete` and `chat` guard what they print, say what was done, and change nothing where nothing is found."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from firesteel.cli.chat.loading import Settings
from firesteel.cli.chat.present import present
from firesteel.cli.chat.status import Status
from firesteel.cli.guarding import remarks
from firesteel.cli.talk import open_chat
from firesteel.config import EngineConfig
from firesteel.session.conversation import Conversation
from firesteel.session.updates import Ended
from firesteel.types import Usage
from firesteel.verdict import GuardReport
from tests.cli.test_chat_pieces import Shown
from tests.server.live import environment, firesteel

BAD = "os.system('ls ' + x)"
SAID = f"Here:\n\n```python\nimport os\n\ndef f(x):\n    {BAD}\n    return 1\n```\nDone.\n"
HOLE = "import os\n\ndef f(x):\n    \n    return 1\n"
Ask = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Run a command on a model that says `SAID`, or inserts the bad line."""

    def ask(command: str, *arguments: str, stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
        script = tmp_path / "script.json"
        script.write_text(json.dumps({"rules": [{"say": BAD if command == "complete" else SAID}]}))
        line = firesteel(command, *arguments, "--backend", "scripted", "--script", str(script))
        home = environment({"FIRESTEEL_HOME": str(tmp_path / "home")})
        options: dict[str, Any] = {"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}
        return subprocess.run(line, capture_output=True, text=True, check=False, timeout=60, env=home, **options)

    return ask


@pytest.fixture
def hole(tmp_path: Path) -> str:
    path = tmp_path / "app.py"
    path.write_text(HOLE)
    return f"{path}:4"


def test_run_prints_no_vulnerable_line_and_says_so(ask: Ask) -> None:
    done = ask("run", "go")
    assert done.returncode == 0
    assert "def f(x)" in done.stdout
    assert BAD not in done.stdout
    assert "guard: took back vulnerable code" in done.stderr


def test_run_tells_in_json_what_the_http_api_tells(ask: Ask) -> None:
    guard = json.loads(ask("run", "go", "--json").stdout)["guard"]
    assert (guard["on"], guard["mode"], guard["failures"]) == (True, "plain", 0)
    assert guard["rewinds"] >= 1
    assert json.loads(ask("run", "go", "--json", "--guard", "off").stdout)["guard"] == {"on": False}


def test_a_milder_guard_changes_nothing_and_names_the_line(ask: Ask) -> None:
    done = ask("run", "go", "--guard", "warn")
    assert done.stdout == SAID + "\n" == ask("run", "go", "--guard", "off").stdout
    assert "guard: line 7: " in done.stderr
    assert "CWE-78" in done.stderr
    assert "guard" not in ask("run", "go", "--guard", "off").stderr


def test_a_guard_that_blocks_lets_nothing_through(ask: Ask) -> None:
    done = json.loads(ask("run", "go", "--json", "--guard", "block").stdout)
    assert BAD not in done["text"]
    assert done["guard"]["findings"] == []
    assert done["finish_reason"] == "stop"  # the script has nothing else to say


def test_complete_knows_the_language_by_the_file_and_counts_its_lines(ask: Ask, hole: str) -> None:
    assert BAD not in ask("complete", hole).stdout
    done = ask("complete", hole, "--guard", "warn")
    assert done.stdout.strip() == BAD
    assert "guard: line 4: " in done.stderr
    assert json.loads(ask("complete", hole, "--json").stdout)["guard"]["on"] is True


def test_chat_guards_each_turn(ask: Ask) -> None:
    done = ask("chat", "--no-save", stdin="go\nagain\n")
    assert done.stdout.count("def f(x)") == 2
    assert BAD not in done.stdout
    assert done.stderr.count("guard: took back") == 2
    turn = json.loads(ask("chat", "--no-save", "--json", stdin="go\n").stdout)
    assert turn["guard"]["rewinds"] >= 1


def test_a_conversation_goes_on_from_what_the_guard_left(tmp_path: Path) -> None:
    """The ids of history are those of the text that was shown: the next turn finds all of it warm."""
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"rules": [{"say": SAID}]}))
    with open_chat(Settings(engine=EngineConfig(backend="scripted", script=str(script)))) as chat:
        shown = []
        for words in ("go", "again"):
            *_, ended = chat.stream(words)
            shown.append(ended)
        first, second = chat.conversation.exchanges
        assert BAD not in first.answer + second.answer
        assert first.tokens is not None
        decoded = chat.conversation._runtime
        assert decoded is not None
        tokenizer = decoded.engine.backend.tokenizer  # type: ignore[attr-defined]
        assert tokenizer.decode(first.tokens) == first.answer
        usage = shown[1].usage  # type: ignore[union-attr]
        assert first.prompt is not None
        assert usage.num_cached_tokens >= len(first.prompt) + len(first.tokens) - 1


def test_nothing_is_said_where_all_was_well() -> None:
    assert remarks(None, "") == []
    assert remarks(GuardReport(version="1", is_live=False), "x = 1\n") == []


def test_an_answer_that_was_ended_and_a_guard_that_broke_are_told() -> None:
    ended, broke = remarks(GuardReport(version="1", is_live=False, num_failures=1), "", reason="content_filter")
    assert "the answer ends here" in ended
    assert "its silence means nothing" in broke


def test_the_terminal_says_it_below_the_answer() -> None:
    shown, conversation = Shown(), Conversation(None, lambda _: None)
    report = GuardReport(version="1", is_live=False, num_rewinds=2)
    usage = Usage(num_prompt_tokens=1, num_cached_tokens=0, num_output_tokens=1, guard=report)
    shown.screen.begin_answer()
    shown.screen.add("x = 1")
    present(Ended(reason="content_filter", usage=usage), conversation, shown.screen, Status("m"), 0.0)
    assert shown.text.splitlines() == ["x = 1", "(ended by the guard)", "guard: took back vulnerable code 2 times"]
