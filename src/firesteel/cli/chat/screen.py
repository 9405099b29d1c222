"""Text above a live input line, in the terminal's own scrollback (docs/decisions/0018-chat-above-scrollback.md).

What is complete is printed once, above the live region, and belongs to the terminal from then on. What is not,
the line that the model is writing, is a part of the live region, so it is visible at once and can still change.
"""

import os
import sys

from prompt_toolkit.application import Application
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.output import Output, create_output
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.renderer import print_formatted_text
from prompt_toolkit.styles import BaseStyle, Style

STYLE: BaseStyle = Style.from_dict(
    {
        "user": "bold",
        "note": "ansibrightblack",
        "error": "ansired",
        "waiting": "ansibrightblack italic",
        "toolbar": "reverse",
        "mark": "ansicyan bold",
    }
)
TAB_SIZE = 8


class HeldOutput(Vt100_Output):
    """A terminal that shows nothing while it is held, so that erasing and drawing anew does not flicker."""

    is_held = False

    def flush(self) -> None:
        """Write what has gathered, unless held."""
        if not self.is_held:
            super().flush()


def terminal() -> Output:
    """Return the terminal on stdout. It is not asked where its cursor is: an answer would cost a round trip."""
    if sys.platform == "win32":
        return create_output()
    output = HeldOutput.from_pty(sys.stdout, term=os.environ.get("TERM"))
    output.enable_cpr = False
    return output


class Screen:
    """Prints above the live region of `app`; `line` is the unfinished last line of the answer."""

    def __init__(self, app: Application[None]) -> None:
        self._app = app
        self.line = ""
        self._num_printed = 0  # code points of this answer that are in the scrollback
        app.after_render += lambda _: self.release()

    def release(self) -> None:
        """Show what was held back."""
        self._hold(False)
        self._app.output.flush()

    def begin_answer(self) -> None:
        """The text that follows is a new answer's."""
        self.line, self._num_printed = "", 0

    def add(self, text: str) -> None:
        """Go on with the answer: lines that are complete move up into the scrollback."""
        complete, newline, self.line = (self.line + text).rpartition("\n")
        if newline:
            self._num_printed += len(complete) + 1
            self.print([("", complete + "\n")])
        else:
            self._app.invalidate()

    def take_back(self, answer: str) -> None:
        """Of the answer only `answer` still stands; what the scrollback holds of the rest is marked as void."""
        start = answer.rfind("\n") + 1
        self.line = answer[start:]
        if start < self._num_printed:
            self.print([("class:note", f"(taken back: the answer goes on after its line {answer.count(chr(10))})\n")])
        self._num_printed = start
        self._app.invalidate()

    def end_answer(self) -> None:
        """The unfinished line is as finished as it gets."""
        if self.line:
            self.add("\n")

    def print(self, fragments: StyleAndTextTuples) -> None:
        """Print above the live region; control characters in the text do nothing to the terminal."""
        if self._app.is_running:
            self._hold(True)
            self._app.renderer.erase()
        print_formatted_text(self._app.output, fragments, STYLE)
        if self._app.is_running:
            self._app.invalidate()
        else:
            self._app.output.flush()

    def note(self, text: str) -> None:
        """Print a remark of the program."""
        self.print([("class:note", text + "\n")])

    def error(self, text: str) -> None:
        """Print what went wrong."""
        self.print([("class:error", f"error: {text}\n")])

    def user(self, text: str, *, steered: bool) -> None:
        """Print the user's words, where they took effect."""
        self.print([("class:mark", "» " if steered else "› "), ("class:user", text.replace("\n", "\n  ") + "\n")])

    def visible_line(self) -> str:
        """Return as much of the unfinished line's end as half the terminal holds."""
        size = self._app.output.get_size()
        most = max(1, size.rows // 2) * size.columns
        line = self.line.expandtabs(TAB_SIZE)
        if not line.isascii():
            most //= 2  # characters may be two cells wide
        return line if len(line) <= most else "…" + line[-most + 1 :]

    def _hold(self, is_held: bool) -> None:
        if isinstance(self._app.output, HeldOutput):
            self._app.output.is_held = is_held
