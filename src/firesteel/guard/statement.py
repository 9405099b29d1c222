"""Follows statements and functions, line by line, without parsing: brackets, strings, comments, indentation.

Everything happens at the end of a line, so the result cannot depend on how the text was cut. A line that grows too long
is ended after `MAX_LINE` code points, a statement after `MAX_STATEMENT`; brackets below `MAX_DEPTH` are not followed.
"""

import re
from collections import deque
from dataclasses import dataclass

MAX_LINE = 4096
MAX_STATEMENT = 8192
MAX_DEPTH = 256
MAX_WINDOW = 12_000  # code points of one function that a rule may look at
MAX_TOP_WINDOW = 4_000  # where no function is around
PAIRS = {"(": ")", "[": "]", "{": "}"}
CONTAINER = re.compile(r"\b(?:class|interface|namespace|module|impl|trait|enum|struct|union|record|extern)\b")
CONTROL = re.compile(
    r"^[\s}]*(?:\w+:\s*)?(?:if|else|for|while|do|switch|try|catch|finally|with|unless|synchronized|using|lock|foreach|select|unsafe|"
    r"loop|match|case|default|defer|go)\b|(?:[=(:,\[?|&]|\breturn|^)\s*$"
)
INDENTED = re.compile(r"[ \t]*(?:(?:async\s+)?(def|class|module)\b|(@))")
CONTINUED = re.compile(r"(?:[+\-*/%=&|,.?:(\[<]|\\|\b(?:and|or|in|is|return|instanceof))\s*$")
CODE = r"|\"(?:\\.|[^\"\\\n])*\"?|'(?:\\.|[^'\\\n])*'?|[()\[\]{}]"
HASHED = re.compile(r"#[^\n]*" + CODE)
SLASHED = re.compile(r"//[^\n]*|/\*|`" + CODE)
RUSTED = re.compile(r"//[^\n]*|/\*|\"(?:\\.|[^\"\\\n])*\"?|'(?:\\.[^']*|[^'\\\n])'|[()\[\]{}]")
BOTH = re.compile(r"//[^\n]*|#[^\n\[][^\n]*|/\*" + CODE)
TRIPLED = re.compile(r"#[^\n]*|\"\"\"|'''" + CODE)
TOKENS = {"python": TRIPLED, "ruby": HASHED, "bash": HASHED, "rust": RUSTED, "php": BOTH}
INDENTATION = frozenset(("python", "ruby", "bash"))


@dataclass(frozen=True, slots=True)
class Block:
    """A function, class or other block that is open: where its first statement begins, and how deep it is indented."""

    start: int
    indent: int
    is_container: bool  # holds functions
    closer: str = ""
    is_control: bool = False  # a loop, a condition, an object: part of what is around


@dataclass(frozen=True, slots=True)
class Closed:
    """What ended with a line: a statement when `is_statement`, and functions, each with its start and end."""

    start: int
    end: int
    is_statement: bool
    functions: tuple[tuple[int, int], ...] = ()


class Statements:
    """The statements of one text in one language. Offsets are code points."""

    def __init__(self, language: str, start: int = 0) -> None:
        self.language = language
        self._tokens = TOKENS.get(language, SLASHED)
        self._by_indent = language in INDENTATION
        self._brackets: list[Block] = []
        self._blocks: list[Block] = []  # of languages with indentation
        self._inside = ""  # what ends the string or comment that is open
        self._decorated: int | None = None
        self._recent: deque[int] = deque([start], maxlen=200)  # where the last statements begin
        self.start = start  # of the statement that is open

    def copy(self) -> "Statements":
        """Return a copy that goes its own way: a checkpoint."""
        twin = Statements(self.language)
        twin._brackets, twin._blocks = self._brackets.copy(), self._blocks.copy()
        twin._inside, twin._decorated, twin.start = self._inside, self._decorated, self.start
        twin._recent = self._recent.copy()
        return twin

    def line(self, text: str, start: int) -> Closed:
        """Take one whole line that begins at `start`; say what has ended with it."""
        end = start + len(text)
        ended = self._dedent(text, start) if self._by_indent and not self._inside and not self._brackets else []
        ended += self._follow(text, start)
        is_long = end - self.start > MAX_STATEMENT
        if is_long:
            self._inside = ""
            self._brackets = [block for block in self._brackets if block.closer == "}"][:MAX_DEPTH]
        if not is_long and not self._is_closed(text):
            return Closed(self.start, end, False, tuple(ended))
        closed = Closed(self.start, end, True, tuple(ended))
        self.start = end
        self._recent.append(end)
        return closed

    def _is_closed(self, text: str) -> bool:
        if self._inside or (
            self._brackets and ((self._by_indent and self.language == "python") or self._brackets[-1].closer != "}")
        ):
            return False
        if self.language == "python":
            return not text.rstrip("\n").endswith("\\")
        return CONTINUED.search(text) is None or text.lstrip().startswith(("#", "//", "*"))

    def _dedent(self, text: str, start: int) -> list[tuple[int, int]]:
        stripped = text.lstrip(" \t")
        if not stripped.strip() or stripped.startswith("#"):
            return []
        indent = len(text) - len(stripped)
        ended = []
        while (
            self._blocks
            and self._blocks[-1].indent >= indent
            and not (stripped.startswith("end") and self._blocks[-1].indent == indent)
        ):
            block = self._blocks.pop()
            if not block.is_container and not any(not each.is_container for each in self._blocks):
                ended.append((block.start, start))
        found = INDENTED.match(text)
        if found and found[2]:
            self._decorated = start if self._decorated is None else self._decorated
        else:
            if found and len(self._blocks) < MAX_DEPTH:
                begin = self._decorated if self._decorated is not None else start
                self._blocks.append(Block(begin, indent, found[1] != "def"))
            self._decorated = None
        return ended

    def _follow(self, text: str, start: int) -> list[tuple[int, int]]:
        position = 0
        ended: list[tuple[int, int]] = []
        while True:
            if self._inside:
                position = self._skip(text, position)
                if position < 0:
                    return ended
            found = self._tokens.search(text, position)
            if found is None:
                return ended
            position = found.end()
            self._token(found[0], text, start, found.start(), ended)

    def _skip(self, text: str, position: int) -> int:
        """Return the place behind the end of the open string or comment, -1 when it goes on."""
        while True:
            end = text.find(self._inside, position)
            if end < 0:
                return -1
            if len(self._inside) == 1 and end > 0 and text[end - 1] == "\\":
                position = end + 1
                continue
            end += len(self._inside)
            self._inside = ""
            return end

    def _token(self, token: str, text: str, start: int, at: int, ended: list[tuple[int, int]]) -> None:
        if token in PAIRS:
            if len(self._brackets) < MAX_DEPTH:
                before = text[max(0, at - 400) : at]
                is_container = token == "{" and CONTAINER.search(before) is not None
                is_control = token == "{" and not is_container and CONTROL.search(before) is not None
                self._brackets.append(Block(self.start, 0, is_container, PAIRS[token], is_control))
        elif token in ")]}":
            self._close(token, start + len(text), ended)
        elif token == "/*":
            self._inside = "*/"
        elif token in ('"""', "'''", "`"):
            self._inside = token

    def _close(self, token: str, end: int, ended: list[tuple[int, int]]) -> None:
        while self._brackets:
            block = self._brackets.pop()
            if block.closer == token:
                outer = any(not each.is_container and not each.is_control for each in self._brackets)
                if token == "}" and not (block.is_container or block.is_control or outer):
                    ended.append((block.start, end))
                return
            if token != "}":  # a stray bracket closes nothing
                self._brackets.append(block)
                return

    def closers(self) -> str:
        """Return what would close everything that is open, for a parser."""
        inside = "" if self._inside in ("", "*/") else self._inside
        return inside + "".join(block.closer for block in reversed(self._brackets[-40:]))

    def window(self, statement: int) -> int:
        """Return where the function begins that holds the statement at `statement`, or else the lines to look at."""
        blocks = self._blocks if self._by_indent else [block for block in self._brackets if block.closer == "}"]
        for block in blocks:
            is_function = not block.is_container and not block.is_control
            if is_function and block.start <= statement and statement - block.start <= MAX_WINDOW:
                return block.start
        inner = max((block.start for block in blocks if block.start <= statement and block.is_container), default=-1)
        for start in self._recent:
            if max(inner, statement - MAX_TOP_WINDOW) <= start <= statement:
                return start
        return statement

    def finish(self, end: int) -> tuple[tuple[int, int], ...]:
        """Return the functions that are still open when the text ends."""
        blocks = self._blocks if self._by_indent else self._brackets
        outermost = next((block for block in blocks if not block.is_container and not block.is_control), None)
        return ((outermost.start, end),) if outermost is not None else ()
