"""`firesteel run` on the scripted backend, as a process."""

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.server.live import SCRIPT, environment, firesteel, wait_for

Run = Callable[..., "subprocess.CompletedProcess[str]"]
HELLO = "Hello. What shall we write? 🦊 ok"


@pytest.fixture
def line(tmp_path: Path) -> list[str]:
    """The command line up to the prompt."""
    path = tmp_path / "script.json"
    path.write_text(json.dumps(SCRIPT))
    return firesteel("run", "--backend", "scripted", "--script", str(path))


@pytest.fixture
def run(line: list[str]) -> Run:
    def run(*arguments: str | bytes, stdin: bytes = b"") -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [*line, *arguments], input=stdin, capture_output=True, check=False, timeout=30, env=environment({})
        )
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


def test_text_goes_to_stdout_and_figures_to_stderr(run: Run) -> None:
    done = run("hello")
    assert (done.returncode, done.stdout) == (0, HELLO + "\n")
    assert "tokens/s" in done.stderr
    assert "time to first token" in done.stderr


def test_the_prompt_may_be_piped_in_or_both(run: Run) -> None:
    assert run(stdin=b"hello\n").stdout == HELLO + "\n"
    assert run("hello", "--stdin", stdin=b"and this\n").stdout == HELLO + "\n"
    assert run("something else", "--max-tokens", "9", stdin=b"hello").stdout.startswith("def ")  # left alone
    assert run("say", "--stdin", "--max-tokens", "9", stdin=b"hello").stdout.startswith(
        "def "
    )  # the argument comes first


def test_no_prompt_is_a_clear_error(run: Run) -> None:
    done = run(stdin=b" \n")
    assert done.returncode == 1
    assert done.stderr.startswith("error: there is no prompt")
    assert not done.stdout


def test_input_that_is_not_utf8_is_a_clear_error(run: Run) -> None:
    for done in (run(stdin=b"\xff\xfe hello"), run(b"\xff hello")):
        assert done.returncode == 1
        assert done.stderr.startswith("error: the prompt is not UTF-8")


def test_json(run: Run) -> None:
    done = run("hello", "--json")
    document = json.loads(done.stdout)
    assert document["text"] == HELLO
    assert document["output_tokens"] > 1
    figures = {"prompt_tokens", "output_tokens", "ttft_seconds", "tokens_per_second"}
    assert set(document) == {"text", "finish_reason", "guard", *figures}
    assert not done.stderr


def test_options_reach_the_engine(run: Run) -> None:
    assert json.loads(run("go on", "--json", "--max-tokens", "7").stdout)["output_tokens"] == 7
    hot = ("go on", "--temperature", "2", "--max-tokens", "40")
    assert run(*hot, "--seed", "3").stdout == run(*hot, "--seed", "3").stdout != run(*hot, "--seed", "4").stdout
    assert json.loads(run("hello", "--system", "Be brief.", "--json").stdout)["prompt_tokens"] > 10
    done = run("word " * 100, "--context", "64")
    assert done.returncode == 1
    assert "--context" in done.stderr


def test_a_failing_engine_is_an_error_after_the_text(run: Run) -> None:
    done = run("fail later")
    assert done.returncode == 1
    assert done.stdout.endswith("\n")
    assert "error: The script fails" in done.stderr
    assert "Traceback" not in done.stderr


def test_interrupting_keeps_the_text_and_leaves_nothing(line: list[str]) -> None:
    process = subprocess.Popen(
        [*line, "slow"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment({}),
    )
    assert process.stdout is not None
    first = process.stdout.read(40)
    me = psutil.Process(process.pid)
    assert not me.children()
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=10)
    assert process.returncode == 130
    assert (first + rest).startswith(b"def ")
    assert (first + rest).endswith(b"\n")
    assert errors == b"interrupted\n"


def is_waiting(process: psutil.Process) -> bool:
    """Return whether the process has an engine and does nothing itself: the script's delays are sleeps."""
    before = process.cpu_times().user
    time.sleep(0.2)
    return process.num_threads() > 1 and process.cpu_times().user - before <= 0.02


def test_interrupting_a_long_prefill_is_as_quick(line: list[str]) -> None:
    process = subprocess.Popen(
        [*line, "read slowly " + "word " * 10_000],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment({}),
    )
    me = psutil.Process(process.pid)
    wait_for(lambda: is_waiting(me), "the engine computes")
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=10)
    assert (process.returncode, out) == (130, b"")
    assert b"Traceback" not in errors


def test_a_reader_that_leaves_ends_it_quietly(line: list[str]) -> None:
    process = subprocess.Popen(
        [*line, "slow"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment({}),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=10) != 0
    assert b"Traceback" not in errors
