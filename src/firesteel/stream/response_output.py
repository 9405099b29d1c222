"""The text of an answer → the items of a response's output, and their events."""

from collections.abc import Iterator

import msgspec
from msgspec import UNSET

from firesteel.stream.custom_calls import CustomBegin, CustomCalls, CustomPiece, CustomText, PlainText
from firesteel.stream.logprobs import chat_logprobs
from firesteel.stream.response_events import Events, WireEvent, delta_head
from firesteel.stream.tally import Tally
from firesteel.types import FinishReason, Guarded, Tokenizer, TokenLogprob
from firesteel.verdict import Finding
from firesteel.wire.guard import event_of
from firesteel.wire.one_call import plain_text
from firesteel.wire.openai_chat import ContentLogprob
from firesteel.wire.response_object import (
    Citation,
    CustomCallItem,
    FunctionCallItem,
    ItemStatus,
    OutputItem,
    OutputMessage,
    OutputText,
    Phase,
    ToolSearchItem,
)
from firesteel.wire.response_tools import Tool, ToolBox, find
from firesteel.wire.tool_calls import CLOSE, OPEN, CallArguments, CallBegin, Content, Parsed, ToolCallParser

_TEXT = "response.output_text.delta"
_ARGUMENTS = "response.function_call_arguments.delta"
_INPUT = "response.custom_tool_call_input.delta"


class Call(msgspec.Struct):
    """The call that is being written."""

    id: str
    call_id: str
    name: str  # as the model wrote it
    tool: Tool | None
    is_plain: bool  # written as plain text
    text: str = ""
    head: bytes = b""


class OutputWriter:
    """Writes the items of one response. `ids` makes their ids; `items` holds those that are done.

    With `single`, calls without tags are made once only.
    """

    def __init__(
        self, ids: str, tools: ToolBox, events: Events, tokenizer: Tokenizer, tally: Tally, *, single: bool = False
    ) -> None:
        self.items: list[OutputItem] = []
        self.findings: list[Finding] = []  # of the whole answer, set before its end
        self._ids = ids
        self._tools = tools
        self._events = events
        self._tokenizer = tokenizer
        self._tally = tally
        self._customs = CustomCalls() if any(tool.kind == "custom" for tool in tools.values()) else None
        names = [name for tool in tools.values() for name in (tool.name, tool.own_name)]
        self._parser = ToolCallParser(names=names, single=single) if tools else None
        self._parts: list[str] = []  # all of the answer, as the model wrote it
        self._message: list[str] | None = None  # the texts of the open message
        self._call: Call | None = None  # the open call
        self._logprobs: list[ContentLogprob] = []  # of the open message
        self._new_logprobs: list[ContentLogprob] = []  # of text that has not left yet
        self._head = b""

    @property
    def is_in_call(self) -> bool:
        """Whether the model is writing a call at this moment."""
        if self._parser is None:
            return False
        text = "".join(self._parts)
        return self._parser.is_in_bare_call or text.rfind(OPEN) > text.rfind(CLOSE)

    def feed(self, text: str, logprobs: list[TokenLogprob]) -> Iterator[WireEvent]:
        """Yield the events of more of the answer."""
        if logprobs:
            self._new_logprobs += chat_logprobs(logprobs, self._tokenizer).content
        if self._parser is None:
            if text:
                yield from self._content(text)
            return
        self._parts.append(text)
        if self._customs is None:
            yield from self._pieces(self._parser.feed(text))
        else:
            yield from self._customised(self._customs.feed(text))

    def guarded(self, event: Guarded) -> Iterator[WireEvent]:
        """Yield what the guard says at this place. Text is taken back where nothing but one message is written."""
        if event.kind == "rewind" and self._message is not None:
            self._message = ["".join(self._message)[: event.num_text]]
        fields = msgspec.to_builtins(event_of(event))
        kind = fields.pop("type")
        yield self._events.event(kind, **(self._at_part() if self._message is not None else {}), **fields)

    def finish(self, reason: FinishReason, *, keep_partial: bool = True) -> Iterator[WireEvent]:
        """Yield the events of what was still held, and of the end of the open item.

        Of an answer that was broken off, what looks like the beginning of a call is dropped; without
        `keep_partial`, so is the item that is not complete.
        """
        is_cut = reason in ("steered", "cancelled")
        if self._parser is not None and not is_cut:
            if self._customs is not None:
                yield from self._customised(self._customs.finish(closed=reason == "stop"))
            yield from self._pieces(self._parser.finish(is_cut=reason != "stop"))
        if is_cut and not keep_partial:
            self._message = self._call = None
        is_call_cut = self._call is not None and self.is_in_call and reason != "stop"
        status: ItemStatus = "completed" if reason == "stop" and not is_call_cut else "incomplete"
        if self._call is not None and not is_call_cut:
            status = "completed"
        yield from self._close(status, "final_answer" if reason == "stop" else None)

    def _customised(self, pieces: list[CustomPiece]) -> Iterator[WireEvent]:
        """Hand plain text on to the parser of function calls, and write the calls of custom tools."""
        assert self._parser is not None
        for piece in pieces:
            if isinstance(piece, PlainText):
                yield from self._pieces(self._parser.feed(piece.text))
            elif isinstance(piece, CustomBegin):
                yield from self._pieces(self._parser.finish())
                self._parser = ToolCallParser()
                yield from self._begin_call(piece.name, is_plain=True)
            elif isinstance(piece, CustomText):
                yield from self._call_text(piece.text)
            else:
                yield from self._close("completed")

    def _pieces(self, pieces: list[Parsed]) -> Iterator[WireEvent]:
        for piece in self._tally.well_formed(pieces):
            if isinstance(piece, Content):
                yield from self._content(piece.text)
            elif isinstance(piece, CallBegin):
                yield from self._begin_call(piece.name, is_plain=False)
            else:
                assert isinstance(piece, CallArguments)
                yield from self._call_text(piece.text)

    def _content(self, text: str) -> Iterator[WireEvent]:
        if self._message is None:
            yield from self._close("completed", "commentary")
            yield from self._begin_message()
        assert self._message is not None
        self._message.append(text)
        if not self._new_logprobs:
            yield self._events.delta(_TEXT, self._head, text)
            return
        logprobs, self._new_logprobs = self._new_logprobs, []
        self._logprobs += logprobs
        yield self._events.event(_TEXT, **self._at_part(), logprobs=logprobs, delta=text)

    def _begin_message(self) -> Iterator[WireEvent]:
        self._message, self._logprobs = [], []
        self._head = delta_head(_TEXT, **self._at_part(), logprobs=[])
        item = OutputMessage(id=self._id("msg"), status="in_progress", content=[])
        yield self._events.event("response.output_item.added", output_index=len(self.items), item=item)
        yield self._events.event("response.content_part.added", **self._at_part(), part=OutputText(text=""))

    def _id(self, kind: str) -> str:
        return f"{kind}_{self._ids}_{len(self.items)}"

    def _at_part(self) -> dict[str, str | int]:
        return {"item_id": self._id("msg"), "output_index": len(self.items), "content_index": 0}

    def _begin_call(self, name: str, *, is_plain: bool) -> Iterator[WireEvent]:
        yield from self._close("completed", "commentary")
        tool = find(self._tools, name)
        kind = "ctc" if self._is_custom(tool, is_plain) else "tsc" if tool and tool.kind == "tool_search" else "fc"
        call = Call(self._id(kind), f"call_{self._ids}_{len(self.items)}", name, tool, is_plain)
        self._call = call
        if kind == "ctc" and not is_plain:
            return  # its text is JSON first, so that nothing of it can be told yet
        delta_kind = _INPUT if kind == "ctc" else _ARGUMENTS
        call.head = delta_head(delta_kind, item_id=call.id, output_index=len(self.items))
        yield self._added(call)

    def _is_custom(self, tool: Tool | None, is_plain: bool) -> bool:
        return is_plain if tool is None else tool.kind == "custom"

    def _added(self, call: Call) -> WireEvent:
        item = _item_of(msgspec.structs.replace(call, text=""), "in_progress")
        return self._events.event("response.output_item.added", output_index=len(self.items), item=item)

    def _call_text(self, text: str) -> Iterator[WireEvent]:
        assert self._call is not None
        self._call.text += text
        if self._call.head and not (self._call.tool and self._call.tool.kind == "tool_search"):
            yield self._events.delta(_kind_of(self._call), self._call.head, text)

    def _close(self, status: ItemStatus, phase: Phase | None = None) -> Iterator[WireEvent]:
        """End the open item, if there is one."""
        if self._message is not None:
            yield from self._close_message(status, phase)
        elif self._call is not None:
            yield from self._close_call(self._call, status)

    def _close_message(self, status: ItemStatus, phase: Phase | None) -> Iterator[WireEvent]:
        assert self._message is not None
        part = OutputText(text="".join(self._message), logprobs=self._logprobs, annotations=self._annotations())
        place = self._at_part()
        yield self._events.event("response.output_text.done", **place, text=part.text, logprobs=part.logprobs)
        yield self._events.event("response.content_part.done", **place, part=part)
        item = OutputMessage(id=self._id("msg"), status=status, content=[part], phase=phase or UNSET)
        self._message = None
        yield self._done(item)

    def _annotations(self) -> list[Citation]:
        """Return what was found in the message, as citations of its weakness, which every client can read."""
        return [citation_of(finding) for finding in self.findings] if self._parser is None else []

    def _close_call(self, call: Call, status: ItemStatus) -> Iterator[WireEvent]:
        if not call.head:  # a custom tool that was called with JSON
            yield self._added(call)
        item = _item_of(call, status)
        place = {"item_id": call.id, "output_index": len(self.items)}
        if isinstance(item, CustomCallItem):
            yield self._events.event("response.custom_tool_call_input.done", **place, input=item.input)
        elif isinstance(item, FunctionCallItem):
            kind = "response.function_call_arguments.done"
            yield self._events.event(kind, **place, name=item.name, arguments=item.arguments)
        self._call = None
        yield self._done(item)

    def _done(self, item: OutputItem) -> WireEvent:
        event = self._events.event("response.output_item.done", output_index=len(self.items), item=item)
        self.items.append(item)
        return event


def citation_of(finding: Finding) -> Citation:
    """Return a finding as a citation of its weakness."""
    number = finding.cwe.removeprefix("CWE-")
    return Citation(
        start_index=finding.start,
        end_index=finding.end,
        title=f"{finding.rule} ({finding.cwe}): {finding.reason}",
        url=f"https://cwe.mitre.org/data/definitions/{number}.html",
    )


def _kind_of(call: Call) -> str:
    return _INPUT if call.id.startswith("ctc") else _ARGUMENTS


def _item_of(call: Call, status: ItemStatus) -> OutputItem:
    name = call.tool.own_name if call.tool else call.name
    namespace = (call.tool.namespace if call.tool else None) or UNSET
    if call.id.startswith("ctc"):
        text = call.text if call.is_plain else plain_text(call.text)
        return CustomCallItem(
            id=call.id, call_id=call.call_id, name=name, namespace=namespace, input=text, status=status
        )
    if call.id.startswith("tsc"):
        return ToolSearchItem(id=call.id, call_id=call.call_id, arguments=_decoded(call.text), status=status)
    return FunctionCallItem(
        id=call.id, call_id=call.call_id, name=name, namespace=namespace, arguments=call.text, status=status
    )


def _decoded(text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return {}
