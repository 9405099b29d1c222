"""Follows statements and functions, line by line, without parsing: brackets, strings, comments, indentation.

Everything happens at the end of a line, so the result cannot depend on how the text was cut. A line that grows too long
is ended after `MAX_LINE` code points, a statement after `MAX_STATEMENT`; brackets below `MAX_DEPTH` are not followed.
"""

import re
from collections import deque
from typing import NamedTuple

MAX_LINE = 4096
MAX_STATEMENT = 8192
MAX_PROSE = 20_000  # a docstring that is longer was no docstring, but the end of one
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
PATTERN = (  # of JavaScript, where a value may stand: brackets and quotes in it are neither
    r"(?:(?<=[(=,:&|!?\[{;])|(?<=[(=,:&|!?\[{;] )|(?<=return ))/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n\[])+/|"
)
SCRIPTED = re.compile(PATTERN + r"//[^\n]*|/\*|`" + CODE)
SLASHED = re.compile(r"//[^\n]*|/\*|`" + CODE)
RUSTED = re.compile(r"//[^\n]*|/\*|\"(?:\\.|[^\"\\\n])*\"?|'(?:\\.[^']*|[^'\\\n])'|[()\[\]{}]")
BOTH = re.compile(r"//[^\n]*|#[^\n\[][^\n]*|/\*" + CODE)
TRIPLED = re.compile(r"#[^\n]*|\"\"\"|'''" + CODE)
TOKENS = {
    "python": TRIPLED,
    "ruby": HASHED,
    "bash": HASHED,
    "rust": RUSTED,
    "php": BOTH,
    "javascript": SCRIPTED,
    "typescript": SCRIPTED,
}
OPENERS = frozenset(('"""', "'''", "`", "/*"))
PROSE = re.compile(r"\s*(?:[rRuUbB]{0,2}(?:\"\"\"|''')|/\*)")
INDENTATION = frozenset(("python", "ruby", "bash"))


class Block(NamedTuple):
    """A function, class or other block that is open: where its first statement begins, and how deep it is indented."""

    start: int
    indent: int
    is_container: bool  # holds functions
    closer: str = ""
    is_control: bool = False  # a loop, a condition, an object: part of what is around


Ended = list[tuple[int, int]]  # functions that ended: where each begins and ends


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
        self.ended: Ended = []
        self.is_prose = False  # the open statement is a docstring or a comment
        self._prose = 0  # how much of it was ended for its length

    def line(self, text: str, start: int) -> int:
        """Take one whole line that begins at `start`; return where the statement began that ended with it, else -1.

        Functions that ended with the line are then in `ended`.
        """
        if self.ended:
            self.ended = []
        if self._by_indent and not self._inside and not self._brackets:
            self._dedent(text, start)
        is_first = start == self.start
        self._follow(text, start)
        if is_first:
            self.is_prose = self._inside != "" and (self._prose > 0 or PROSE.match(text) is not None)
            self._prose = self._prose if self.is_prose else 0
        end = start + len(text)
        if end - self.start > MAX_STATEMENT:
            self._cut(end)
        elif not self._is_closed(text):
            return -1
        began, self.start = self.start, end
        self._recent.append(end)
        return began

    def _cut(self, end: int) -> None:
        self._prose += end - self.start
        if not self.is_prose or self._prose > MAX_PROSE:
            self._inside, self._prose = "", 0
        self._brackets = [block for block in self._brackets if block.closer == "}"]

    def _is_closed(self, text: str) -> bool:
        if self._inside:
            return False
        if self.language == "python":
            return not self._brackets and not text.endswith("\\\n")
        if self._brackets and self._brackets[-1].closer != "}":
            return False
        return CONTINUED.search(text) is None or text.lstrip().startswith(("#", "//", "*"))

    def _dedent(self, text: str, start: int) -> None:
        stripped = text.lstrip(" \t")
        if stripped in ("\n", "\r\n", "") or stripped[0] == "#":
            return
        indent = len(text) - len(stripped)
        blocks = self._blocks
        while blocks and blocks[-1].indent >= indent:
            if blocks[-1].indent == indent and stripped.startswith("end"):
                break
            block = blocks.pop()
            if not block.is_container and all(each.is_container for each in blocks):
                self.ended.append((block.start, start))
        if stripped[0] in "dcam@":
            self._open_block(text, start, indent)
        else:
            self._decorated = None

    def _open_block(self, text: str, start: int, indent: int) -> None:
        found = INDENTED.match(text)
        if found and found[2]:
            self._decorated = start if self._decorated is None else self._decorated
            return
        if found and len(self._blocks) < MAX_DEPTH:
            begin = self._decorated if self._decorated is not None else start
            self._blocks.append(Block(begin, indent, found[1] != "def"))
        self._decorated = None

    def _follow(self, text: str, start: int) -> None:
        position, search = 0, self._tokens.search
        if self._inside:
            position = self._skip(text, position)
        while position >= 0:
            found = search(text, position)
            if found is None:
                return
            position = found.end()
            token = found[0]
            if len(token) == 1 or token in OPENERS:
                self._token(token, text, start, found.start())
                if self._inside:
                    position = self._skip(text, position)

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

    def _token(self, token: str, text: str, start: int, at: int) -> None:
        if token in PAIRS:
            if len(self._brackets) < MAX_DEPTH:
                before = (
                    text[max(0, at - 400, *(text.rfind(mark, 0, at) + 1 for mark in "{};")) : at]
                    if token == "{"
                    else ""
                )
                is_container = token == "{" and CONTAINER.search(before) is not None
                is_control = token == "{" and not is_container and CONTROL.search(before) is not None
                self._brackets.append(Block(self.start, 0, is_container, PAIRS[token], is_control))
        elif token in ")]}":
            self._close(token, start + len(text))
        elif token == "/*":
            self._inside = "*/"
        elif token in OPENERS:
            self._inside = token

    def _close(self, token: str, end: int) -> None:
        while self._brackets:
            block = self._brackets.pop()
            if block.closer == token:
                outer = any(not each.is_container and not each.is_control for each in self._brackets)
                if token == "}" and not (block.is_container or block.is_control or outer):
                    self.ended.append((block.start, end))
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

    def finish(self, end: int) -> Ended:
        """Return the function that is still open when the text ends."""
        blocks = self._blocks if self._by_indent else self._brackets
        outermost = next((block for block in blocks if not block.is_container and not block.is_control), None)
        return [(outermost.start, end)] if outermost is not None else []
