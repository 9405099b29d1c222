"""One tool call, read from the brace that opens its object on, and the pieces that an answer is split into."""

import json
import re

import msgspec

from firesteel.wire.json_repair import JsonRepair, repair_json

OPEN = "<tool_call>"
CLOSE = "</tool_call>"

_HEAD = re.compile(r'\{"name": "((?:[^"\\]|\\.)*)"(, "(?:arguments|parameters)": \{)?')


class Content(msgspec.Struct, frozen=True):
    """Text of the answer itself."""

    text: str


class CallBegin(msgspec.Struct, frozen=True):
    """Call number `index` of this answer names its tool."""

    index: int
    id: str
    name: str
    is_custom: bool = False  # a tool that takes plain text


class CallArguments(msgspec.Struct, frozen=True):
    """A part of the arguments of call number `index`: together JSON, valid unless `Malformed` or a cut says other."""

    index: int
    text: str
    is_custom: bool = False  # plain text, no JSON


class Malformed(msgspec.Struct, frozen=True):
    """The raw text of a call that could not be read, or not to its end."""

    text: str


Piece = Content | CallBegin | CallArguments
Parsed = Piece | Malformed


class Call:
    """One call, from the brace that opens its object to the closing tag."""

    def __init__(self, index: int, id: str) -> None:
        self.has_begun = False
        self.has_ended = False
        self._index = index
        self._id = id
        self._repair = JsonRepair()
        self._raw: list[str] = []
        self._written = ""  # the object so far, as valid JSON
        self._has_arguments = False  # all of them

    def feed(self, text: str, pieces: list[Parsed], *, is_last: bool = False) -> str:
        """Read on, add to `pieces` what is decided, and return what was not read: there more text is needed."""
        at = 0
        while at < len(text) and not self._repair.is_broken:
            if not self._repair.in_string and text[at] == "<" and CLOSE.startswith(text[at : at + len(CLOSE)]):
                if len(text) - at < len(CLOSE) and not is_last:
                    break
                self.finish(pieces)
            else:
                at = self._step(text, at, pieces)
            if self.has_ended:
                return text[at:]
        return self._skip(text[at:], pieces, is_last=is_last) if self._repair.is_broken else text[at:]

    def _step(self, text: str, start: int, pieces: list[Parsed]) -> int:
        at, written = self._repair.step(text, start)
        self._raw.append(text[start:at])
        if not written:
            return at
        if self.has_begun:
            self._add_arguments(written, pieces)
        else:
            self._written += written
            self._look_for_head(pieces)
        if self._repair.is_complete:
            self._end_whole(pieces)
        return at

    def _add_arguments(self, written: str, pieces: list[Parsed]) -> None:
        if not self._has_arguments:
            pieces.append(CallArguments(self._index, written))
            self._has_arguments = self._repair.depth == 1

    def _look_for_head(self, pieces: list[Parsed]) -> None:
        head = _HEAD.fullmatch(self._written) if self._repair.depth == 2 else None
        if head is not None and head[2]:
            self._begin(_unquoted(head[1]), "{", pieces)

    def _begin(self, name: str, arguments: str, pieces: list[Parsed]) -> None:
        """Report the call, if its name can be one."""
        if name and name.isprintable():
            self.has_begun = True
            pieces += (CallBegin(self._index, self._id, name), CallArguments(self._index, arguments))

    def _end_whole(self, pieces: list[Parsed]) -> None:
        """End with an object that is complete; report it if it was not while it came."""
        self.has_ended = True
        if self.has_begun:
            return
        name, arguments = _read_whole(self._written)
        self._begin(name, arguments, pieces)
        if not (self.has_begun and arguments.startswith("{")):
            pieces.append(Malformed("".join(self._raw)))

    def _skip(self, text: str, pieces: list[Parsed], *, is_last: bool) -> str:
        """Go on to the closing tag, since nothing before it can be read; return what was not read."""
        end = text.find(CLOSE)
        self.has_ended = end >= 0
        if end < 0:
            end = len(text) if is_last else start_of_partial(CLOSE, text)
        self._raw.append(text[:end])
        if end and self.has_begun and not self._has_arguments:
            pieces.append(CallArguments(self._index, text[:end]))
        if self.has_ended:
            self._end_broken(pieces)
        return text[end:]

    def _end_broken(self, pieces: list[Parsed]) -> None:
        """Report a call that cannot be read; one whose arguments came before the fault is good."""
        if self._has_arguments:
            return
        raw = "".join(self._raw)
        head = None if self.has_begun else _HEAD.match(self._written)
        if head is not None:
            self._begin(_unquoted(head[1]), raw, pieces)
        pieces.append(Malformed(raw))

    def finish(self, pieces: list[Parsed], *, is_cut: bool = False) -> None:
        """End before the object did: with the closing tag, or with the answer."""
        if self.has_ended:
            return
        self.has_ended = True
        depth = self._repair.depth
        closing = "" if is_cut else self._repair.close()
        if not self._repair.is_complete:
            self._end_unfinished(pieces, is_cut=is_cut)
        elif not self.has_begun:
            self._written += closing
            self._end_whole(pieces)
        elif not self._has_arguments:
            assert depth > 1
            pieces.append(CallArguments(self._index, closing[:-1]))

    def _end_unfinished(self, pieces: list[Parsed], *, is_cut: bool) -> None:
        """Report what has no certain end. A cut is no fault of a call that has begun: its client sees `length`."""
        if not is_cut or (self.has_begun and self._repair.is_broken):
            self._end_broken(pieces)
        elif not self.has_begun:
            pieces.append(Malformed("".join(self._raw)))


def _unquoted(written: str) -> str:
    text: str = json.loads(f'"{written}"')
    return text


def _read_whole(written: str) -> tuple[str, str]:
    """Return name and arguments (JSON, an object unless the model wrote something else) of a complete call."""
    try:
        call = json.loads(written)
        call = call["function"] if isinstance(call.get("function"), dict) else call
        arguments = call.get("arguments", call.get("parameters")) or {}
        if isinstance(arguments, str) and (repaired := repair_json(arguments)):
            arguments = json.loads(repaired)
        name = call.get("name")
        return name if isinstance(name, str) else "", json.dumps(arguments, ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError):  # no JSON that others would read: too deep, or a number too large
        return "", ""


def start_of_partial(tag: str, text: str) -> int:
    """Return where `text` ends in what may be the beginning of `tag`; its length when it does not."""
    start = text.rfind("<")
    return start if start >= 0 and tag.startswith(text[start:]) else len(text)


def plain_text(arguments: str) -> str:
    """Return the text that a custom tool was meant to get when it was called like a function."""
    try:
        decoded = json.loads(arguments)
    except ValueError:
        return arguments
    values = list(decoded.values()) if isinstance(decoded, dict) else []
    return values[0] if len(values) == 1 and isinstance(values[0], str) else arguments
