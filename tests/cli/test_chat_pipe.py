"""`firesteel chat` without a terminal, and the Python API under it, on the scripted backend."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from firesteel.cli.chat.loading import Settings
from firesteel.cli.talk import Chat, open_chat
from firesteel.config import EngineConfig
from firesteel.errors import RequestError
from firesteel.session.updates import Ended, QueueChanged, Started, TextAdded, Update
from tests.server.live import SCRIPT, environment, firesteel

HELLO = "Hello. What shall we write? 🦊 ok"
ROOT = Path(__file__).parents[2]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def script(tmp_path: Path) -> str:
    path = tmp_path / "script.json"
    path.write_text(json.dumps(SCRIPT))
    return str(path)


@pytest.fixture
def run(tmp_path: Path, script: str) -> Run:
    def run(*arguments: str, stdin: bytes) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [*firesteel("chat", "--backend", "scripted", "--script", script, "--disk-cache", "0"), *arguments],
            input=stdin,
            capture_output=True,
            check=False,
            timeout=30,
            env=environment({"FIRESTEEL_HOME": str(tmp_path / "home")}),
        )
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


def test_each_line_is_a_turn(run: Run) -> None:
    done = run(stdin=b"hello\n\n  hello again\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{HELLO}\n{HELLO}\n"


def test_json_prints_one_line_a_turn_and_resume_goes_on_warm(run: Run) -> None:
    first = json.loads(run("--json", stdin=b"hello\n").stdout)
    assert (first["text"], first["finish_reason"], first["cached_tokens"]) == (HELLO, "stop", 0)
    one, two = map(json.loads, run("--json", "--resume", stdin=b"hello again\nhello\n").stdout.splitlines())
    assert one["prompt_tokens"] > first["prompt_tokens"] + first["output_tokens"]
    assert two["cached_tokens"] >= one["prompt_tokens"]


def test_a_failing_turn_is_an_error_and_the_next_goes_on(run: Run) -> None:
    done = run(stdin=b"fail later\nhello\n")
    assert done.returncode == 1
    assert done.stdout == f"{HELLO}\n"
    assert "error: The script fails" in done.stderr
    turn = json.loads(run("--json", "--context", "64", stdin=b"word " * 100).stdout)
    assert turn["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--resume"], "no conversation is saved"),
        (["--resume", "20200101-000000-abcdef"], "there is no conversation '20200101-000000-abcdef'"),
        (["20200101-000000-abcdef"], "say: firesteel chat --resume 2020"),
    ],
)
def test_what_cannot_be_resumed_is_a_clear_error(run: Run, arguments: list[str], problem: str) -> None:
    done = run(*arguments, stdin=b"hello\n")
    assert done.returncode == 1
    assert problem in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_is_kept_when_that_is_wished(run: Run, tmp_path: Path) -> None:
    assert run("--no-save", stdin=b"hello\n").stdout == f"{HELLO}\n"
    assert not (tmp_path / "home" / "conversations").exists()


@pytest.fixture
def chat(script: str) -> Iterator[Chat]:
    with open_chat(Settings(engine=EngineConfig(backend="scripted", script=script), max_tokens=400)) as chat:
        yield chat


def until_text(updates: Iterator[Update]) -> None:
    """Take updates up to the first text."""
    assert any(isinstance(update, TextAdded) for update in updates)


def test_steering_a_stream(chat: Chat) -> None:
    updates = chat.stream("slow")
    until_text(updates)
    chat.steer("hello")
    rest = list(updates)
    assert [update.reason for update in rest if isinstance(update, Ended)] == ["steered", "stop"]
    assert Started(user="hello", steered=True) in rest
    assert [exchange.answer for exchange in chat.conversation.exchanges][1] == HELLO
    usage = next(update.usage for update in reversed(rest) if isinstance(update, Ended))
    before = chat.conversation.exchanges[0]
    assert before.prompt is not None
    assert before.tokens is not None
    assert usage.num_cached_tokens >= len(before.prompt) + len(before.tokens) - 1


def test_queueing_and_interrupting_a_stream(chat: Chat) -> None:
    updates = chat.stream("slow")
    until_text(updates)
    chat.queue("hello")
    chat.interrupt()
    rest = list(updates)
    assert QueueChanged(steering=(), queued=("hello",)) in rest
    assert [update.reason for update in rest if isinstance(update, Ended)] == ["cancelled"]
    assert list(chat.stream("hello"))[-1] != rest[-1]
    assert chat.undo() == "hello"
    assert chat.conversation.exchanges[-1].reason == "cancelled"


def test_closing_a_stream_interrupts(chat: Chat) -> None:
    updates = chat.stream("slow")
    until_text(updates)
    updates.close()  # type: ignore[attr-defined]
    assert not chat.conversation.is_running
    assert chat.conversation.exchanges[0].reason == "cancelled"
    with pytest.raises(RequestError, match="empty"):
        list(chat.stream(" "))


def test_the_example_of_the_how_to_page_runs(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "how-to" / "steer.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert examples
    for example in examples:
        done = subprocess.run(
            [sys.executable, "-c", example],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
            cwd=tmp_path,
            env={**os.environ, "FIRESTEEL_HOME": str(tmp_path)},
        )
        assert done.returncode == 0, done.stderr
        assert "» with type hints" in done.stdout
