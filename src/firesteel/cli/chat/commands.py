"""What begins with a slash."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from firesteel.cli.chat import storage
from firesteel.cli.chat.screen import Screen
from firesteel.errors import RequestError
from firesteel.session.conversation import Conversation
from firesteel.session.updates import Update

NUM_LISTED = 20
WIDTH = 60  # of the first words in a list


class Room(Protocol):
    """What commands act on."""

    screen: Screen
    conversation: Conversation

    def show(self, updates: list[Update]) -> None:
        """Take in what happened."""
        ...

    def put_into_input(self, text: str) -> None:
        """Put `text` before what the input line holds."""
        ...

    def open(self, id: str | None) -> None:
        """Go on with another conversation; `None`: a new one."""
        ...

    def switch_model(self, name: str) -> None:
        """Load another model."""
        ...

    def leave(self) -> None:
        """End the program."""
        ...


def is_command(text: str) -> bool:
    """Return whether `text` is for the program. Several lines, or a blank before the slash, are for the model."""
    return text.startswith("/") and "\n" not in text.strip()


def run(room: Room, text: str) -> None:
    """Do what `text` says. Raises RequestError, which names what there is, and whatever the command raises."""
    name, _, argument = text.strip().partition(" ")
    command = COMMANDS.get(name)
    if command is None:
        raise RequestError(f"there is no {name}; there are {' '.join(COMMANDS)}. A blank before / sends it as text")
    command[0](room, argument.strip())


def _help(room: Room, _: str) -> None:
    """Show what keys and commands there are."""
    lines = [f"{name + ' ' + argument:<18}{command.__doc__}" for name, (command, argument) in COMMANDS.items()]
    room.screen.note("\n".join([KEYS, *lines]))


def _model(room: Room, name: str) -> None:
    """Go on with another model; the messages are rendered anew for it."""
    if not name:
        raise RequestError("say which: /model NAME, as `firesteel models list` shows them")
    room.switch_model(name)


def _undo(room: Room, _: str) -> None:
    """Take the last exchange back; its words return into the input line."""
    words = room.conversation.undo()
    if words is None:
        raise RequestError("nothing has been said yet")
    room.screen.note("(the last exchange is taken back)")
    room.put_into_input(words)
    room.show([])


def _new(room: Room, _: str) -> None:
    """Begin a new conversation."""
    room.open(None)
    room.screen.note("(a new conversation)")


def _resume(room: Room, which: str) -> None:
    """List the conversations, or go on with one of them: its number or id."""
    found = storage.recent(time.time())[:NUM_LISTED]
    if not which:
        lines = [f"{number:>3}  {_line(summary)}" for number, summary in enumerate(found, 1)]
        room.screen.note("\n".join([*lines, "go on with /resume NUMBER"]) if lines else "no conversation is saved yet")
        return
    is_number = which.isdecimal() and 0 < int(which) <= len(found)
    room.open(found[int(which) - 1].id if is_number else which)


def _line(summary: storage.Summary) -> str:
    words = " ".join(summary.words.split())
    words = words if len(words) <= WIDTH else words[: WIDTH - 1] + "…"
    return f"{storage.told(summary.age):<15}{summary.num_exchanges:>4} turns  {words}"


def _queue(room: Room, what: str) -> None:
    """Show the words that wait; `clear` returns them into the input line."""
    if what == "clear":
        room.show(room.conversation.take_back())
    elif what:
        raise RequestError("/queue shows what waits, /queue clear takes it back")
    waiting = room.conversation.waiting
    lines = [f"steers: {text}" for text in waiting.steering] + [f"queued: {text}" for text in waiting.queued]
    room.screen.note("\n".join(lines) or "nothing waits")


def _system(room: Room, text: str) -> None:
    """Set the system message; without TEXT, show it."""
    if text:
        room.conversation.system = text
        room.show([])
    room.screen.note(f"system: {room.conversation.system or 'none'}")


def _save(room: Room, name: str) -> None:
    """Write the conversation to FILE as Markdown."""
    if not name:
        raise RequestError("say where to: /save FILE")
    path = Path(name).expanduser()
    parts = [f"## {message.role}\n\n{message.content}\n" for message in room.conversation.messages]
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write("\n".join(parts))
    except OSError as error:
        raise RequestError(f"cannot write {path}: {error.strerror or error}") from None
    room.screen.note(f"saved to {path}")


def _quit(room: Room, _: str) -> None:
    """Leave; `firesteel chat --resume` goes on."""
    room.leave()


KEYS = """\
Enter             at rest: send; while an answer is written: steer, it breaks in
Tab               queue: the next turn, when this answer has ended
Esc, Ctrl-C       interrupt: what was written stays; what waits comes back. At rest, Esc Esc clears the input
Alt-Enter, Ctrl-J newline
Ctrl-D            leave"""

COMMANDS: dict[str, tuple[Callable[[Room, str], None], str]] = {
    "/help": (_help, ""),
    "/model": (_model, "NAME"),
    "/undo": (_undo, ""),
    "/new": (_new, ""),
    "/resume": (_resume, "[NUMBER]"),
    "/queue": (_queue, "[clear]"),
    "/system": (_system, "[TEXT]"),
    "/save": (_save, "FILE"),
    "/quit": (_quit, ""),
}
