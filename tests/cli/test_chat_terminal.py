"""`firesteel chat` as a user sees it: a process on a pseudo terminal, the scripted backend, real keys."""

import json
import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.terminal import Terminal
from tests.server.live import firesteel, wait_for

SCRIPT = {
    "rules": [
        {"match": "^hello", "say": "Hello. What shall we write?"},
        {"match": "^count", "say": "first line\nsecond line\nthird", "step_ms": 20, "stall_at": 12, "stall_ms": 60_000},
        {"match": "^slow", "step_ms": 20},
        {"match": "^read slowly", "prefill_ms_per_row": 2},
        {"match": "^fail", "fail_at": 12},
    ]
}
ENTER, TAB, ESCAPE, CONTROL_C, CONTROL_D, UP = "\r", "\t", "\x1b", "\x03", "\x04", "\x1b[A"
READY = "Enter send"
RUNNING = "Enter steer"

Open = Callable[..., Terminal]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def open_chat(tmp_path: Path, home: Path) -> Iterator[Open]:
    """A chat that is ready to type into; several may be opened, one after the other."""
    script = tmp_path / "script.json"
    script.write_text(json.dumps(SCRIPT))
    opened: list[Terminal] = []

    def open(*arguments: str) -> Terminal:
        line = firesteel("chat", "--backend", "scripted", "--script", str(script), "--disk-cache", "0", *arguments)
        opened.append(Terminal(line, {"FIRESTEEL_HOME": str(home)}))
        opened[-1].expect("0/" if "--resume" not in arguments else "/131,072")  # the model is loaded
        return opened[-1]

    yield open
    for terminal in opened:
        terminal.close()


def saved(home: Path) -> list[dict[str, object]]:
    return [json.loads(path.read_text()) for path in sorted((home / "conversations").glob("*.json"))]


def test_a_turn_and_leaving(open_chat: Open, home: Path) -> None:
    chat = open_chat()
    chat.type("hello" + ENTER)
    chat.expect("› hello", "Hello. What shall we write?", READY)
    assert chat.leave() == 0
    (path,) = (home / "conversations").glob("*.json")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    text = chat.text
    assert f"firesteel chat --resume {path.stem}" in text
    assert "Hello. What shall we write?" in text  # the scrollback is the terminal's own
    assert READY not in text


def test_an_unfinished_line_is_visible_while_the_user_types(open_chat: Open) -> None:
    chat = open_chat()
    chat.type("count" + ENTER)
    chat.expect("first line\n", "second line", RUNNING)
    chat.expect("second line\nthi")  # the model stalls within the third line
    chat.type("and I ty")
    chat.expect("second line\nthi", "› and I ty")
    chat.type(ESCAPE)
    chat.expect("(interrupted)", "› and I ty", READY)
    chat.leave(CONTROL_C + CONTROL_D)


def test_enter_steers(open_chat: Open, home: Path) -> None:
    chat = open_chat()
    chat.type("slow" + ENTER)
    chat.expect("› slow", "def ", RUNNING)
    chat.type("hello, rather" + ENTER)
    chat.expect("» hello, rather", "Hello. What shall we write?", READY)
    chat.leave()
    (document,) = saved(home)
    exchanges = document["exchanges"]
    assert isinstance(exchanges, list)
    assert [(exchange["user"], exchange["reason"]) for exchange in exchanges] == [
        ("slow", "steered"),
        ("hello, rather", "stop"),
    ]
    assert exchanges[0]["answer"].startswith("def ")
    assert "fresh" not in exchanges[1]


def test_tab_queues(open_chat: Open) -> None:
    chat = open_chat("--max-tokens", "40")
    chat.type("slow" + ENTER)
    chat.expect("› slow", "def ")
    chat.type("hello" + TAB)
    chat.expect("queued: hello", "1 queued")
    chat.type("/queue" + ENTER)
    chat.expect("queued: hello", "queued: hello")
    chat.expect("(cut: ", "› hello", "Hello. What shall we write?", READY)
    chat.leave()


def test_escape_interrupts_and_returns_what_waits(open_chat: Open, home: Path) -> None:
    chat = open_chat()
    chat.type("slow" + ENTER)
    chat.expect("› slow", "def ")
    chat.type("later" + TAB)
    chat.expect("queued: later")
    chat.type("typed" + ESCAPE)
    chat.expect("(interrupted)", "› later", "typed", READY)
    chat.type(ESCAPE + ESCAPE)
    chat.expect_gone("typed")
    chat.type("hello" + ENTER)
    chat.expect("Hello. What shall we write?")
    chat.leave()
    (document,) = saved(home)
    exchanges = document["exchanges"]
    assert isinstance(exchanges, list)
    assert [exchange["reason"] for exchange in exchanges] == ["cancelled", "stop"]


def test_a_paste_of_several_lines_is_one_message(open_chat: Open, home: Path) -> None:
    chat = open_chat()
    chat.type("\x1b[200~hello\nsecond\r\nthird\x1b[201~")
    chat.expect("› hello\n  second\n  third")
    chat.type("\x1b\rfourth\nfifth" + ENTER)  # Alt-Enter and Ctrl-J
    chat.expect("› hello\n  second\n  third\n  fourth\n  fifth\nHello. What", READY)
    chat.leave()
    assert [exchange["user"] for exchange in saved(home)[0]["exchanges"]] == [  # type: ignore[attr-defined]
        "hello\nsecond\nthird\nfourth\nfifth"
    ]


def test_progress_of_a_long_prompt_and_interrupting_it(open_chat: Open) -> None:
    chat = open_chat()
    chat.type("\x1b[200~read slowly " + "word " * 1500 + "\x1b[201~" + ENTER)
    chat.expect("reading ", " % of 6,")
    chat.type(ESCAPE)
    chat.expect("› read slowly", READY)  # nothing was said: the question is back in the input line
    chat.leave(CONTROL_C + CONTROL_D)


def test_history_and_undo(open_chat: Open) -> None:
    chat = open_chat()
    chat.type("hello one" + ENTER)
    chat.expect("Hello. What", READY)
    chat.type(UP)
    chat.expect("Hello. What", "› hello one")
    chat.type("!" + ENTER)
    chat.expect("› hello one!", "Hello. What", READY)
    chat.type("/undo" + ENTER)
    chat.expect("(the last exchange is taken back)", "› hello one!")
    chat.leave(CONTROL_C + CONTROL_D)


def test_resume_in_another_process(open_chat: Open, home: Path) -> None:
    first = open_chat("--system", "Be brief.")
    first.type("hello first" + ENTER)
    first.expect("Hello. What", READY)
    first.leave()
    second = open_chat("--resume")
    second.expect("› hello first\nHello. What shall we write?")
    second.type("hello again" + ENTER)
    second.expect("› hello again\nHello. What shall we write?", READY)
    second.type("/new" + ENTER)
    second.expect("(a new conversation)")
    second.type("hello anew" + ENTER)
    second.expect("› hello anew\nHello. What", READY)
    second.type("/resume" + ENTER)
    second.expect("1  just now", "hello anew", "2  ", "2 turns  hello first")
    second.type("/resume 2" + ENTER)
    second.expect("/resume NUMBER", "› hello again\nHello. What")
    second.leave()
    documents = saved(home)
    assert [len(document["exchanges"]) for document in documents] == [2, 1]  # type: ignore[arg-type]
    assert "fresh" not in documents[0]["exchanges"][1]  # type: ignore[index]  # exact ids went on


def test_an_engine_error_is_shown_and_the_chat_lives_on(open_chat: Open) -> None:
    chat = open_chat()
    chat.type("fail" + ENTER)
    chat.expect("error: The script fails", READY)
    chat.type("/nonsense" + ENTER)
    chat.expect("error: there is no /nonsense; there are /help /model")
    chat.type("hello" + ENTER)
    chat.expect("› hello", "Hello. What")
    chat.leave()


def test_a_context_that_is_full_loses_nothing(open_chat: Open) -> None:
    chat = open_chat("--context", "64")
    chat.type("word " * 60 + ENTER)
    chat.expect("error: the conversation would take", "/undo", "› word word")
    chat.leave(CONTROL_C + CONTROL_D)


def test_ending_by_signal_in_mid_answer_saves_and_restores(open_chat: Open, home: Path) -> None:
    chat = open_chat()
    chat.type("slow" + ENTER)
    chat.expect("› slow", "def ")
    chat.process.send_signal(signal.SIGTERM)
    assert chat.leave("") == 0
    (document,) = saved(home)
    exchanges = document["exchanges"]
    assert isinstance(exchanges, list)
    assert [exchange["reason"] for exchange in exchanges] == ["cancelled"]
    assert exchanges[0]["tokens"]  # the exact ids came in time


def test_words_sent_while_the_model_loads_wait_for_it(open_chat: Open) -> None:
    chat = open_chat()
    chat.type("/model elsewhere" + ENTER + "hello" + ENTER)
    chat.expect("› hello", "Hello. What shall we write?", READY)
    wait_for(lambda: "elsewhere" not in chat.text.splitlines()[-1], "the scripted model has one name")
    chat.leave()
