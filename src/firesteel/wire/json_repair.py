"""JSON as models write it → valid JSON, piece by piece.

What is put right: raw line breaks and stray backslashes in strings, strings in single quotes, keys without
quotes, Python's `True`, `False` and `None`, trailing commas. The layout becomes the one of `json.dumps`.
What comes out does not depend on how the text was cut (law 2).
"""

import json
import re

_PLAIN = {'"': re.compile(r'[^"\\\x00-\x1f]+'), "'": re.compile(r"[^'\"\\\x00-\x1f]+")}
_SCALAR = re.compile(r"[-+.\w$]+")
_SPACE = re.compile(r"[ \t\r\n]+")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?", re.ASCII)
_WORDS = {"true": "true", "false": "false", "null": "null", "True": "true", "False": "false", "None": "null"}
_CLOSERS = {"{": "}", "[": "]"}
_REPLACEMENT = "\\ufffd"  # for half of a surrogate pair, which no UTF-8 can hold
_HEXADECIMAL = frozenset("0123456789abcdefABCDEF")


class JsonRepair:
    """Reads one JSON value by `step`; ends `is_complete`, or `is_broken` where no repair is certain."""

    def __init__(self) -> None:
        self.is_complete = False
        self.is_broken = False
        self._closers: list[str] = []
        self._expected = "value"  # value | key | colon | comma
        self._may_close = False  # an object or array may end where a key or value is expected
        self._has_comma = False  # a comma was read, which counts when something follows
        self._quote = ""  # of the string that is being read
        self._is_key = False
        self._escape = ""
        self._high = ""  # the first half of a surrogate pair
        self._scalar = ""

    @property
    def depth(self) -> int:
        """How many objects and arrays are open."""
        return len(self._closers)

    @property
    def in_string(self) -> bool:
        """Whether the text so far ends inside a string."""
        return bool(self._quote)

    def step(self, text: str, at: int) -> tuple[int, str]:
        """Read on at `text[at]`, which is there; return where the next step begins, and valid JSON for this one.

        A step ends at every change of `depth`. Where the value breaks, what was read before but not returned
        comes out as it was.
        """
        if self._escape:
            return self._read_escape(text[at], at)
        if self._quote:
            return self._read_string(text, at)
        if scalar := _SCALAR.match(text, at):
            self._scalar += scalar.group()
            return scalar.end(), ""
        if self._scalar:
            return at, self._end_scalar()
        if space := _SPACE.match(text, at):
            return space.end(), ""
        return self._read_mark(text[at], at)

    def close(self) -> str:
        """Return what completes the value, now that the text has ended; broken when that is not certain."""
        if self.is_complete or self.is_broken:
            return ""
        closing = self._end_scalar() if self._scalar else ""
        may_close = self._expected == "comma" or self._may_close or self._has_comma
        if self.is_broken or self._quote or not may_close:
            self.is_broken = True
            return closing
        closing += "".join(reversed(self._closers))
        self._closers.clear()
        self.is_complete = True
        return closing

    def _read_mark(self, mark: str, at: int) -> tuple[int, str]:
        """Read one character that is neither space nor part of a string or scalar."""
        if self._expected == "colon" and mark == ":":
            self._expect("value")
            return at + 1, ": "
        if mark in "}]":
            return self._close_container(mark, at)
        if self._expected == "comma" and mark == ",":
            self._expect("key" if self._closers[-1] == "}" else "value", has_comma=True)
            return at + 1, ""
        if self._expected in ("key", "value") and mark in _PLAIN:
            self._quote, self._is_key = mark, self._expected == "key"
            return at + 1, self._separator() + '"'
        if self._expected == "value" and mark in _CLOSERS:
            opened = self._separator() + mark
            self._closers.append(_CLOSERS[mark])
            self._expect("key" if mark == "{" else "value", may_close=True)
            return at + 1, opened
        return self._break(at)

    def _close_container(self, mark: str, at: int) -> tuple[int, str]:
        may_close = self._expected == "comma" or self._may_close or self._has_comma
        if not (may_close and self._closers[-1:] == [mark]):
            return self._break(at)
        self._closers.pop()
        self._end_value()
        return at + 1, mark

    def _break(self, at: int) -> tuple[int, str]:
        self.is_broken = True
        return at, self._separator()

    def _expect(self, what: str, *, may_close: bool = False, has_comma: bool = False) -> None:
        self._expected, self._may_close, self._has_comma = what, may_close, has_comma

    def _separator(self) -> str:
        return ", " if self._has_comma else ""

    def _end_value(self) -> None:
        self.is_complete = not self._closers
        self._expect("comma")

    def _end_scalar(self) -> str:
        """Return the number, the word or the key without quotes that has ended; broken when it is none."""
        scalar, self._scalar = self._scalar, ""
        separator = self._separator()
        if self._expected == "key":
            self._expect("colon")
            return separator + json.dumps(scalar)
        written = _WORDS.get(scalar) or (scalar if _NUMBER.fullmatch(scalar) else "")
        if self._expected != "value" or not written:
            self.is_broken = True
            return separator + scalar
        self._end_value()
        return separator + written

    def _read_string(self, text: str, at: int) -> tuple[int, str]:
        if plain := _PLAIN[self._quote].match(text, at):
            return plain.end(), self._in_pairs(plain.group())
        character = text[at]
        if character == self._quote:
            return at + 1, self._end_string()
        if character == "\\":
            self._escape = character
            return at + 1, ""
        return at + 1, self._in_pairs(json.dumps(character)[1:-1])

    def _end_string(self) -> str:
        ending = self._in_pairs('"')
        self._quote = ""
        if self._is_key:
            self._expect("colon")
        else:
            self._end_value()
        return ending

    def _read_escape(self, character: str, at: int) -> tuple[int, str]:
        """Read one character of an escape sequence; what is none was meant as a backslash."""
        if self._escape != "\\" or character == "u":
            if self._escape == "\\" or character in _HEXADECIMAL:
                self._escape += character
                return at + 1, self._end_unicode() if len(self._escape) == 6 else ""
            begun, self._escape = self._escape, ""
            return at, self._in_pairs("\\" + begun)
        self._escape = ""
        if character in '"\\/bfnrt':
            return at + 1, self._in_pairs("\\" + character)
        if character == "'":
            return at + 1, self._in_pairs(character)
        return at, self._in_pairs("\\\\")

    def _end_unicode(self) -> str:
        unit, self._escape = self._escape, ""
        kind = int(unit[2:], 16) >> 10
        if kind == 0xD800 >> 10:
            lone = self._in_pairs("")
            self._high = unit
            return lone
        if kind != 0xDC00 >> 10:
            return self._in_pairs(unit)
        high, self._high = self._high, ""
        return high + unit if high else _REPLACEMENT

    def _in_pairs(self, text: str) -> str:
        """Return `text` of a string, after a replacement for a half pair that stands before it."""
        high, self._high = self._high, ""
        return _REPLACEMENT + text if high else text


def repair_json(text: str) -> str | None:
    """Return the whole `text` as valid JSON; None when it is no JSON value, even after repair."""
    repair, at, parts = JsonRepair(), 0, []
    while at < len(text) and not (repair.is_complete or repair.is_broken):
        at, part = repair.step(text, at)
        parts.append(part)
    parts.append(repair.close())
    return None if repair.is_broken or text[at:].strip() else "".join(parts)
