"""A pseudo terminal with a screen: what a user would see of a program, and what the program leaves behind."""

import os
import pty
import re
import signal
import subprocess
import termios
import threading
from collections.abc import Sequence

import psutil

from tests.server.live import PATIENCE_SECONDS, environment, wait_for

ROWS, COLUMNS = 24, 100
TOKEN = re.compile(
    r"\x1b\[(?P<parameters>[0-9;?]*)(?P<final>[A-Za-z])|\x1b\](?P<title>[^\x07]*)\x07|(?P<plain>.)", re.S
)


class Display:
    """The part of a terminal that prompt_toolkit uses, with scrollback. An unknown sequence is an error."""

    def __init__(self) -> None:
        self.rows = [""]  # scrollback and screen as one
        self.row = self.column = 0
        self.modes: set[str] = set()
        self._rest = ""

    @property
    def text(self) -> str:
        """Everything that can be seen by scrolling."""
        return "\n".join(row.rstrip() for row in self.rows).rstrip()

    def feed(self, text: str) -> None:
        """Take in output; a sequence that is not complete waits for more."""
        text, self._rest = self._rest + text, ""
        unfinished = re.search(r"\x1b(\[[0-9;?]*)?$", text)
        if unfinished:
            text, self._rest = text[: unfinished.start()], unfinished.group()
        for token in TOKEN.finditer(text):
            if token["final"]:
                self._control(token["final"], token["parameters"])
            elif token["plain"]:
                self._put(token["plain"])

    def _control(self, final: str, parameters: str) -> None:
        count = int(parameters) if parameters.isdecimal() else 1
        top = max(0, len(self.rows) - ROWS)
        if final == "A":
            self.row = max(top, self.row - count)
        elif final == "B":
            self._down(count)
        elif final == "C":
            self.column = min(COLUMNS - 1, self.column + count)
        elif final == "D":
            self.column = max(0, self.column - count)
        elif final in "JK":
            assert parameters in ("", "0"), (final, parameters)
            self.rows[self.row] = self.rows[self.row][: self.column]
            if final == "J":
                del self.rows[self.row + 1 :]
        elif final in "hl":
            (self.modes.add if final == "h" else self.modes.discard)(parameters)
        else:
            assert final == "m", f"unknown sequence {parameters}{final}"

    def _put(self, character: str) -> None:
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self._down(1)
        elif character == "\b":
            self.column = max(0, self.column - 1)
        else:
            assert character >= " ", f"unknown control {character!r}"
            if self.column == COLUMNS:
                self.column = 0
                self._down(1)
            row = self.rows[self.row].ljust(self.column)
            self.rows[self.row] = row[: self.column] + character + row[self.column + 1 :]
            self.column += 1

    def _down(self, count: int) -> None:
        self.row += count
        self.rows += [""] * (self.row + 1 - len(self.rows))


class Terminal:
    """A program on a pseudo terminal of its own."""

    def __init__(self, line: Sequence[str], env: dict[str, str]) -> None:
        self.master, self.slave = pty.openpty()
        termios.tcsetwinsize(self.slave, (ROWS, COLUMNS))
        self.before = termios.tcgetattr(self.slave)
        self.display = Display()
        self.process = subprocess.Popen(
            line,
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            env=environment({"TERM": "xterm-256color", **env}),
            start_new_session=True,
        )
        self._lock = threading.Lock()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with open(self.master, "rb", buffering=0, closefd=False) as file:
            while data := _read_some(file.fileno()):
                with self._lock:
                    self.display.feed(data.decode("utf-8", "replace"))

    @property
    def text(self) -> str:
        with self._lock:
            return self.display.text

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def expect(self, *texts: str) -> str:
        """Wait until the terminal shows all `texts`, one after the other; return all that it shows."""
        pattern = re.compile(".*".join(map(re.escape, texts)), re.S)
        try:
            wait_for(lambda: pattern.search(self.text), f"the terminal shows {texts}")
        except AssertionError as error:
            raise AssertionError(f"{error}; it shows:\n{self.text}") from None
        return self.text

    def expect_gone(self, text: str) -> None:
        """Wait until the terminal shows `text` no more."""
        wait_for(lambda: text not in self.text, f"{text!r} is gone")

    def leave(self, keys: str = "\x04") -> int:
        """Leave; return the exit status. The terminal must be as it was, and no process left."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.type(keys)
        status = self.process.wait(PATIENCE_SECONDS)
        assert termios.tcgetattr(self.slave) == self.before
        assert not self.display.modes & {"?2004"}
        assert not [child for child in children if child.is_running()]
        return status

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        os.close(self.slave)
        self._reader.join(PATIENCE_SECONDS)
        os.close(self.master)


def _read_some(file: int) -> bytes:
    """Return some output; nothing when no one can write any more."""
    try:
        return os.read(file, 65_536)
    except OSError:  # Linux says EIO when the other side is closed
        return b""
