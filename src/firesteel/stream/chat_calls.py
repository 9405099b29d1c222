"""The text of a chat answer → content, and calls of functions and custom tools in one numbering."""

import msgspec

from firesteel.stream.custom_calls import CustomBegin, CustomCalls, CustomPiece, CustomText, PlainText
from firesteel.wire.one_call import plain_text
from firesteel.wire.tool_calls import CallArguments, CallBegin, Parsed, ToolCallParser


class ChatCalls:
    """Does what `ToolCallParser` does, where some tools take plain text: `customs`."""

    def __init__(self, customs: tuple[str, ...], *, prefix: str, names: list[str], single: bool) -> None:
        self._customs = frozenset(customs)
        self._prefix = prefix
        self._finder = CustomCalls()
        self._parser = ToolCallParser(prefix=prefix, names=names, single=single)
        self._custom = -1  # the call that is written as plain text
        self._held: list[str] = []  # the JSON of a custom tool that is called like a function
        self._held_index = -1

    @property
    def num_calls(self) -> int:
        """How many calls have begun."""
        return self._parser.num_calls

    def feed(self, text: str) -> list[Parsed]:
        """Return the pieces that `text` decides."""
        return [piece for found in self._finder.feed(text) for piece in self._read(found)]

    def finish(self, *, is_cut: bool = False) -> list[Parsed]:
        """Return what was still held; `is_cut`: the answer did not end by itself, so nothing is completed."""
        pieces = [piece for found in self._finder.finish(closed=not is_cut) for piece in self._read(found)]
        return [*pieces, *self._as_custom(self._parser.finish(is_cut=is_cut)), *self._let_go()]

    def _read(self, found: CustomPiece) -> list[Parsed]:
        if isinstance(found, PlainText):
            return self._as_custom(self._parser.feed(found.text))
        if isinstance(found, CustomBegin):
            return [*self._as_custom(self._parser.finish()), *self._let_go(), self._begin(found.name)]
        return [CallArguments(self._custom, found.text, is_custom=True)] if isinstance(found, CustomText) else []

    def _begin(self, name: str) -> CallBegin:
        self._custom = self._parser.num_calls
        self._parser = ToolCallParser(prefix=self._prefix, num_before=self._custom + 1)
        return CallBegin(self._custom, f"{self._prefix}_{self._custom}", name, is_custom=True)

    def _as_custom(self, pieces: list[Parsed]) -> list[Parsed]:
        """Make calls of custom tools of those that were written like a function's, when they are complete."""
        out: list[Parsed] = []
        for piece in pieces:
            if isinstance(piece, CallArguments) and piece.index == self._held_index:
                self._held.append(piece.text)
                continue
            out += self._let_go()
            if isinstance(piece, CallBegin) and piece.name in self._customs:
                self._held_index = piece.index
                piece = msgspec.structs.replace(piece, is_custom=True)
            out.append(piece)
        return out

    def _let_go(self) -> list[Parsed]:
        if self._held_index < 0:
            return []
        held = CallArguments(self._held_index, plain_text("".join(self._held)), is_custom=True)
        self._held, self._held_index = [], -1
        return [held]
