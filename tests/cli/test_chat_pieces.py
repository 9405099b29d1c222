"""Parts of the chat that need no terminal: storage, toolbar, commands, the screen above the input."""

import asyncio
import io
import os
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.application import Application
from prompt_toolkit.data_structures import Size
from prompt_toolkit.input import DummyInput
from prompt_toolkit.output.vt100 import Vt100_Output

from firesteel.backend.scripted import ScriptedTokenizer
from firesteel.cli.chat import commands, storage
from firesteel.cli.chat.loading import Settings, identity
from firesteel.cli.chat.mailbox import Mailbox
from firesteel.cli.chat.screen import Screen
from firesteel.cli.chat.status import Status
from firesteel.config import EngineConfig
from firesteel.errors import RequestError
from firesteel.session.conversation import Conversation
from firesteel.session.updates import PromptProgress, QueueChanged, TextAdded, Update
from firesteel.types import Delta, Event, Usage
from tests.cli.terminal import COLUMNS, Display


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FIRESTEEL_HOME", str(tmp_path))
    return tmp_path


def conversation(id: str, words: str) -> Conversation:
    """Return a conversation in which `words` wait."""
    found = Conversation(None, lambda _: None, id=id)
    found.queue(words)
    return found


def test_saving_is_private_atomic_and_repeatable(home: Path) -> None:
    assert not storage.save(Conversation(None, lambda _: None, id="a-1"))  # nothing to keep
    first = conversation("a-1", "one")
    assert storage.save(first)
    first.queue("two")
    storage.save(first)
    assert storage.load("a-1")["waiting"] == ["one", "two"]
    (path,) = storage.folder().iterdir()  # no temporary file is left
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    first.take_back()
    storage.save(first)
    assert storage.load("a-1") == {"version": 1, "id": "a-1", "model": ""}


def test_a_list_is_newest_first_and_leaves_out_what_is_none(home: Path) -> None:
    assert storage.recent(0.0) == []
    for number, id in enumerate(["a", "b", "c"]):
        storage.save(conversation(id, f"words {id}"))
        os.utime(storage.path_of(id), (1000 + number, 1000 + number))
    (storage.folder() / "d.json").write_text("{}")
    (storage.folder() / "e.json").write_bytes(b"\xff")
    (storage.folder() / "..x.json").write_text("[]")
    found = storage.recent(4600.0)
    assert [(summary.id, summary.words) for summary in found] == [("c", "words c"), ("b", "words b"), ("a", "words a")]
    assert [storage.told(summary.age) for summary in found] == ["59 minutes ago", "59 minutes ago", "1 hour ago"]


@pytest.mark.parametrize("id", ["../../etc/passwd", "", "a/b", ".hidden", "x" * 65])
def test_an_id_is_no_path(home: Path, id: str) -> None:
    with pytest.raises(RequestError, match="no conversation's id"):
        storage.load(id)


def test_a_missing_or_damaged_conversation_is_a_clear_error(home: Path) -> None:
    with pytest.raises(RequestError, match="there is no conversation 'a'"):
        storage.load("a")
    storage.save(conversation("a", "words"))
    storage.path_of("a").write_text('{"version": 1, "id"')
    with pytest.raises(RequestError, match="cannot be read"):
        storage.load("a")


def test_the_toolbar_says_what_is_known() -> None:
    status = Status("m")
    assert status.text(200).startswith(" m │ Enter send")
    status.begin()
    status.progress(PromptProgress(num_computed=500, num_prompt=2000))
    assert "reading 25 % of 2,000 tokens │ Enter steer · Tab queue · Esc interrupt" in status.text(200)
    for now in (1.0, 2.0):
        status.streamed(TextAdded(text="x", num_tokens=30), now)
    status.context_tokens, status.num_tokens = 16_384, 1_234
    status.waiting = QueueChanged(steering=("a",), queued=("b", "c"))
    assert " m │ 1,234/16,384 (7 %) │ 30 tok/s │ 1 steering │ 2 queued │ Enter steer" in status.text(200)
    status.end(Usage(num_prompt_tokens=9, num_cached_tokens=7, num_output_tokens=101, decode_seconds=2.0))
    assert "50 tok/s │ 7 cached" in status.text(200)
    assert len(status.text(20)) == 20


class Shown:
    """A screen whose terminal keeps what was printed."""

    def __init__(self) -> None:
        self.file = io.StringIO()
        output = Vt100_Output(self.file, lambda: Size(rows=24, columns=COLUMNS), enable_cpr=False)
        self.screen = Screen(Application(input=DummyInput(), output=output))

    @property
    def text(self) -> str:
        display = Display()
        display.feed(self.file.getvalue())
        return display.text


@given(st.lists(st.text(alphabet="ab\n", max_size=5)))
def test_lines_move_up_when_they_are_complete(parts: list[str]) -> None:
    shown = Shown()
    for part in parts:
        shown.screen.add(part)
        assert "\n" not in shown.screen.line
    text = "".join(parts)
    assert shown.screen.line == text.rpartition("\n")[2]
    shown.screen.end_answer()
    assert shown.text == text.rstrip("\n")


def test_text_that_is_taken_back() -> None:
    shown = Shown()
    shown.screen.begin_answer()
    shown.screen.add("one\ntwo\nthr")
    shown.screen.take_back("one\ntwo\nt")  # within the live line: nobody sees more than that
    assert shown.text == "one\ntwo"
    shown.screen.add("hree\nfour")
    shown.screen.take_back("one\ntw")
    shown.screen.add("enty\n")
    assert shown.text == "one\ntwo\nthree\n(taken back: the answer goes on after its line 1)\ntwenty"


def test_control_characters_of_the_model_do_nothing() -> None:
    shown = Shown()
    shown.screen.add("a\x1b[2Jb\rc\n")
    assert "\x1b[2J" not in shown.file.getvalue()
    assert "a?[2Jbc" in shown.text


def test_a_very_long_line_shows_its_end() -> None:
    shown = Shown()
    shown.screen.add("x" * 5000 + "end")
    visible = shown.screen.visible_line()
    assert len(visible) == 12 * COLUMNS
    assert visible.startswith("…x")
    assert visible.endswith("xend")
    shown.screen.add("ß")
    assert len(shown.screen.visible_line()) == 6 * COLUMNS


class Room:
    """What commands act on, without a terminal."""

    def __init__(self) -> None:
        self.shown = Shown()
        self.screen = self.shown.screen
        self.conversation = conversation("a", "words that wait")
        self.did: list[object] = []

    def show(self, updates: list[Update]) -> None:
        self.did += updates

    def put_into_input(self, text: str) -> None:
        self.did.append(text)

    def open(self, id: str | None) -> None:
        self.did.append(("open", id))

    def switch_model(self, name: str) -> None:
        self.did.append(("model", name))

    def leave(self) -> None:
        self.did.append("leave")


def test_what_is_a_command() -> None:
    assert commands.is_command("/help")
    assert commands.is_command("/unknown thing\n")
    assert not commands.is_command(" /help")
    assert not commands.is_command("/etc/hosts\nis broken")
    assert not commands.is_command("help")


def test_commands(home: Path, tmp_path: Path) -> None:
    room = Room()
    commands.run(room, "/help")
    assert all(name in room.shown.text for name in commands.COMMANDS)
    commands.run(room, "/queue")
    assert "queued: words that wait" in room.shown.text
    commands.run(room, "/system be brief ")
    assert room.conversation.system == "be brief"
    commands.run(room, "/resume")
    assert "no conversation is saved yet" in room.shown.text
    storage.save(conversation("saved-1", "old words"))
    commands.run(room, "/resume")
    assert "1  just now" in room.shown.text
    for line in ("/resume 1", "/resume other", "/new", "/model x y", "/quit"):
        commands.run(room, line)
    assert room.did == [("open", "saved-1"), ("open", "other"), ("open", None), ("model", "x y"), "leave"]
    commands.run(room, f"/save {tmp_path}/talk.md")
    assert (tmp_path / "talk.md").read_text() == "## system\n\nbe brief\n"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("/nonsense", "there is no /nonsense; there are /help"),
        ("/undo", "nothing has been said yet"),
        ("/model", "say which"),
        ("/save", "say where to"),
        ("/save /", "cannot write /"),
        ("/queue no", "/queue clear"),
    ],
)
def test_commands_that_cannot_be_done_say_why(line: str, problem: str) -> None:
    with pytest.raises(RequestError, match=problem):
        commands.run(Room(), line)


async def test_the_mailbox_loses_nothing_and_keeps_order() -> None:
    batches: list[list[Event]] = []
    mailbox = Mailbox(asyncio.get_running_loop(), batches.append)

    def send(n: int) -> None:
        for i in range(500):
            mailbox.put(Delta(str(n), str(i), 1))

    senders = [threading.Thread(target=send, args=(n,)) for n in range(3)]
    for sender in senders:
        sender.start()
    while sum(map(len, batches)) < 1500:
        await asyncio.sleep(0.005)
    for sender in senders:
        sender.join()
    for n in range(3):
        texts = [event.text for batch in batches for event in batch if isinstance(event, Delta) and event.id == str(n)]
        assert texts == [str(i) for i in range(500)]
    assert len(batches) < 500


def test_the_identity_of_a_model_is_its_tokenizer_and_template() -> None:
    first, second = ScriptedTokenizer(), ScriptedTokenizer()
    assert identity(first) == identity(second)
    second.chat_template = "another"
    assert identity(first) != identity(second)


def test_settings_name_the_model() -> None:
    settings = Settings(engine=EngineConfig(model="a", script="s"), seed=1)
    assert settings.name == "a"
    other = settings.with_model("b")
    assert (other.name, other.seed, other.engine.script) == ("b", 1, "s")
