import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firesteel.wire.tool_calls import CallArguments, CallBegin, Content, Piece, ToolCallParser, forced_text

CALL = '<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>'
BEGIN, ARGUMENTS = CallBegin(0, "call_0", "f"), CallArguments(0, '{"x": 1}')


def parse(*texts: str, forced: str = "") -> list[Piece]:
    """Return the pieces of `texts`, neighbouring content joined."""
    parser = ToolCallParser(forced)
    pieces: list[Piece] = []
    for piece in [piece for text in texts for piece in parser.feed(text)] + parser.finish():
        if isinstance(piece, Content) and pieces and isinstance(pieces[-1], Content):
            pieces[-1] = Content(pieces[-1].text + piece.text)
        else:
            pieces.append(piece)
    return pieces


fragments = st.sampled_from(
    [
        *(
            "<tool_call>",
            "</tool_call>",
            "<tool",
            "_call>",
            "<",
            ">",
            "{",
            "}",
            '"',
            "\\",
            "\n",
            " ",
            "x",
            "é",
            "{}",
        ),
        *('"name": "f"', '"arguments": {"x": 1}', '{"name": "g", "arguments": {"s": "</tool_call> } \\" "}}'),
        CALL,
    ]
)
texts = st.lists(fragments, max_size=12).map("".join)


@given(texts, st.lists(st.integers(0, 400)), st.sampled_from(["", forced_text(None), forced_text("f")]))
def test_pieces_do_not_depend_on_the_cuts(text: str, cuts: list[int], forced: str) -> None:
    whole = parse(text, forced=forced)
    assert parse(*text, forced=forced) == whole
    places = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    cut = [text[a:b] for a, b in pairwise(places)]
    assert parse(*cut, forced=forced) == whole


@given(texts)
def test_text_without_a_call_is_content_to_the_last_character(text: str) -> None:
    pieces = parse(text)
    if not any(isinstance(piece, CallBegin) for piece in pieces):
        assert pieces == ([Content(text)] if text else [])


words = st.text(st.characters(exclude_characters="<", exclude_categories=["Cs"]), max_size=20)


@given(words, st.lists(words, max_size=5))
def test_nothing_but_calls_and_white_space_is_taken_out(first: str, others: list[str]) -> None:
    pieces = parse(first + "".join(CALL + other for other in others))
    assert sum(isinstance(piece, CallBegin) for piece in pieces) == len(others)
    content = "".join(piece.text for piece in pieces if isinstance(piece, Content))
    assert "".join(content.split()) == "".join((first + "".join(others)).split())


@given(texts)
def test_every_call_has_a_name_and_an_object_of_arguments(text: str) -> None:
    calls = [piece for piece in parse(text) if not isinstance(piece, Content)]
    for index, (begin, arguments) in enumerate(zip(calls[::2], calls[1::2], strict=True)):
        assert isinstance(begin, CallBegin)
        assert isinstance(arguments, CallArguments)
        assert begin.index == arguments.index == index
        assert begin.name
        assert isinstance(json.loads(arguments.text), dict)


@given(st.text(), st.dictionaries(st.text(), st.text() | st.integers() | st.lists(st.text())))
def test_arguments_survive(before: str, arguments: dict[str, object]) -> None:
    text = json.dumps({"name": "f", "arguments": arguments})
    *_, begin, end = parse(before + f"<tool_call>{text}</tool_call>")
    if "<tool_call>" not in before:
        assert begin == BEGIN
    assert isinstance(end, CallArguments)
    assert json.loads(end.text) == arguments


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hello", [Content("hello")]),
        (CALL, [BEGIN, ARGUMENTS]),
        (f"Let me see.\n{CALL}\n", [Content("Let me see."), BEGIN, ARGUMENTS]),
        (f"{CALL} Done.", [BEGIN, ARGUMENTS, Content("Done.")]),
        (CALL.removesuffix("\n</tool_call>"), [BEGIN, ARGUMENTS]),
        (CALL.removesuffix("call>"), [BEGIN, ARGUMENTS]),
        ('<tool_call>{"name": "f"}</tool_call>', [BEGIN, CallArguments(0, "{}")]),
        ('<tool_call>{"name": "f", "arguments": "{\\"x\\": 1}"}', [BEGIN, ARGUMENTS]),
        (
            '<tool_call>{"name": "f", "arguments": {"code": "a\nb"}}',
            [BEGIN, CallArguments(0, '{"code": "a\\nb"}')],
        ),
        ("a < b <tool", [Content("a < b <tool")]),
        ("<tool_call> {", [Content("<tool_call> {")]),
        ('\n<tool_call>\n{"name": "f", "argu', [Content('\n<tool_call>\n{"name": "f", "argu')]),
        ("<tool_call> call me", [Content("<tool_call> call me")]),
        ("<tool_call>{'name': 'f'}</tool_call>", [Content("<tool_call>{'name': 'f'}</tool_call>")]),
        ('<tool_call>{"name": 1}', [Content('<tool_call>{"name": 1}')]),
        (
            '<tool_call>{"name": "f", "arguments": [1]}',
            [Content('<tool_call>{"name": "f", "arguments": [1]}')],
        ),
        (
            '<tool_call>{"name": "f", "arguments": {"x": NaN}}',
            [Content('<tool_call>{"name": "f", "arguments": {"x": NaN}}')],
        ),
        (
            '<tool_call>{"name": "f", "arguments": {"x": "\\ud800"}}',
            [Content('<tool_call>{"name": "f", "arguments": {"x": "\\ud800"}}')],
        ),
        (f"<tool_call><tool_call>{CALL}", [Content("<tool_call><tool_call>"), BEGIN, ARGUMENTS]),
    ],
)
def test_examples(text: str, expected: list[Piece]) -> None:
    assert parse(text) == expected


def test_two_calls_are_numbered() -> None:
    pieces = parse(f"{CALL}\n{CALL}")
    assert pieces == [BEGIN, ARGUMENTS, CallBegin(1, "call_1", "f"), CallArguments(1, '{"x": 1}')]


def test_content_leaves_as_soon_as_it_cannot_be_a_tag() -> None:
    parser = ToolCallParser()
    assert parser.feed("if a ") == [Content("if a")]
    assert parser.feed("<") == []
    assert parser.feed("= b") == [Content(" <= b")]


def test_call_is_reported_when_its_object_closes() -> None:
    parser = ToolCallParser()
    assert parser.feed('<tool_call>{"name": "f", "arguments": {"x": 1}') == []
    assert parser.feed("}") == [BEGIN, ARGUMENTS]


def test_forced_call_of_any_tool() -> None:
    assert parse('f", "arguments": {"x": 1}}\n</tool_call>', forced=forced_text(None)) == [BEGIN, ARGUMENTS]


def test_forced_call_of_a_named_tool() -> None:
    assert parse('{"x": 1}}', forced=forced_text("f")) == [BEGIN, ARGUMENTS]
    quoted = parse("{}}", forced=forced_text('odd "name"'))
    assert quoted[0] == CallBegin(0, "call_0", 'odd "name"')


def test_forced_call_that_goes_wrong_is_content() -> None:
    assert parse("oops", forced=forced_text("f")) == [Content(forced_text("f") + "oops")]


def test_ids_carry_the_prefix() -> None:
    assert ToolCallParser(prefix="call_r1_0").feed(CALL)[0] == CallBegin(0, "call_r1_0_0", "f")
