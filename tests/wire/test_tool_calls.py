import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firesteel.wire.tool_calls import CallArguments, CallBegin, Content, Malformed, Parsed, ToolCallParser

CALL = '<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>'
BEGIN, ARGUMENTS = CallBegin(0, "call_0", "f"), CallArguments(0, '{"x": 1}')


def parse(*texts: str, is_cut: bool = False) -> list[Parsed]:
    """Return the pieces of `texts`, neighbouring content and arguments joined."""
    parser = ToolCallParser()
    pieces: list[Parsed] = []
    for piece in [piece for text in texts for piece in parser.feed(text)] + parser.finish(is_cut=is_cut):
        last = pieces[-1] if pieces else None
        if isinstance(piece, Content) and isinstance(last, Content):
            pieces[-1] = Content(last.text + piece.text)
        elif isinstance(piece, CallArguments) and isinstance(last, CallArguments):
            assert piece.index == last.index
            pieces[-1] = CallArguments(piece.index, last.text + piece.text)
        else:
            pieces.append(piece)
    return pieces


fragments = st.sampled_from(
    [
        *("<tool_call>", "</tool_call>", "<tool", "_call>", "<", ">", "{", "}", '"', "'", "\\", "\\u12", "\n", " "),
        *("x", "é", "{}", "[", "]", ",", ":", "1", "-", "nul", "True", "//", "</"),
        *('"name": "f"', '"arguments": {"x": 1}', '{"name": "g", "arguments": {"s": "</tool_call> } \\" "}}'),
        *('<tool_call>{"name": "f", "arguments": {', "<tool_call>{'name': 'f', 'parameters': {'a': \"\n\""),
        CALL,
    ]
)
texts = st.lists(fragments, max_size=12).map("".join)


@given(texts, st.lists(st.integers(0, 400)), st.booleans())
def test_pieces_do_not_depend_on_the_cuts(text: str, cuts: list[int], is_cut: bool) -> None:
    whole = parse(text, is_cut=is_cut)
    assert parse(*text, is_cut=is_cut) == whole
    places = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    cut = [text[a:b] for a, b in pairwise(places)]
    assert parse(*cut, is_cut=is_cut) == whole


@given(texts)
def test_text_without_a_call_is_content_to_the_last_character(text: str) -> None:
    pieces = parse(text)
    if all(isinstance(piece, Content) for piece in pieces) and "</tool_call>" not in text:
        assert pieces == ([Content(text)] if text else [])


@given(texts)
def test_no_call_leaks_as_content(text: str) -> None:
    """Content never holds the tag with an object after it, whatever is wrong with that object."""
    content = "".join(piece.text for piece in parse(text) if isinstance(piece, Content))
    assert "<tool_call>{" not in "".join(content.split())


words = st.text(st.characters(exclude_characters="<}", exclude_categories=["Cs"]), max_size=20)


@given(words, st.lists(words, max_size=5))
def test_nothing_but_calls_and_white_space_is_taken_out(first: str, others: list[str]) -> None:
    pieces = parse(first + "".join(CALL + other for other in others))
    assert sum(isinstance(piece, CallBegin) for piece in pieces) == len(others)
    content = "".join(piece.text for piece in pieces if isinstance(piece, Content))
    assert "".join(content.split()) == "".join((first + "".join(others)).split())


@given(texts)
def test_a_call_is_an_object_of_arguments_or_reported_as_malformed(text: str) -> None:
    pieces = parse(text)
    for at, piece in enumerate(pieces):
        if isinstance(piece, CallBegin):
            arguments, *rest = pieces[at + 1 :]
            assert isinstance(arguments, CallArguments)
            assert arguments.index == piece.index
            assert piece.name
            if not (rest and isinstance(rest[0], Malformed)):
                assert isinstance(json.loads(arguments.text), dict)
    assert [piece.index for piece in pieces if isinstance(piece, CallBegin)] == list(
        range(sum(isinstance(piece, CallBegin) for piece in pieces))
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.text(), st.dictionaries(st.text(), JSON), st.booleans(), st.sampled_from([None, 2]))
def test_arguments_survive(before: str, arguments: dict[str, Any], in_ascii: bool, indent: int | None) -> None:
    text = json.dumps({"name": "f", "arguments": arguments}, ensure_ascii=in_ascii, indent=indent)
    *_, begin, end = parse(before + f"<tool_call>{text}</tool_call>")
    if "<tool_call>" not in before:
        assert begin == BEGIN
    assert isinstance(end, CallArguments)
    assert json.loads(end.text) == arguments


@given(st.dictionaries(st.text(), JSON, max_size=3))
def test_arguments_that_a_model_wrote_as_python_survive(arguments: dict[str, Any]) -> None:
    pieces = parse(f"<tool_call>{ {'name': 'f', 'arguments': arguments}!r}</tool_call>")
    if "\\x" not in repr(arguments) and "\\U" not in repr(arguments):  # Python's own escapes
        assert isinstance(pieces[1], CallArguments)
        assert json.loads(pieces[1].text) == arguments


EXAMPLES: list[tuple[str, list[Parsed]]] = [
    ("hello", [Content("hello")]),
    (CALL, [BEGIN, ARGUMENTS]),
    (f"Let me see.\n{CALL}\n", [Content("Let me see."), BEGIN, ARGUMENTS]),
    (f"{CALL} Done.", [BEGIN, ARGUMENTS, Content("Done.")]),
    (CALL.removesuffix("\n</tool_call>"), [BEGIN, ARGUMENTS]),
    (CALL.removesuffix("call>"), [BEGIN, ARGUMENTS]),
    (CALL.replace("}}", "}"), [BEGIN, ARGUMENTS]),
    (CALL.replace("}}", ""), [BEGIN, ARGUMENTS]),
    (CALL.replace("}}", "}}}"), [BEGIN, ARGUMENTS]),
    ('<tool_call>{"name": "f", "arguments": {"x": 1', [BEGIN, ARGUMENTS]),
    ('<tool_call>{"name": "f"}</tool_call>', [BEGIN, CallArguments(0, "{}")]),
    ('<tool_call>{"name": "f", "parameters": {"x": 1}}', [BEGIN, ARGUMENTS]),
    ('<tool_call>{"arguments": {"x": 1}, "name": "f"}', [BEGIN, ARGUMENTS]),
    ('<tool_call>{"name": "f", "arguments": "{\\"x\\": 1}"}', [BEGIN, ARGUMENTS]),
    ("<tool_call>{'name': 'f', 'arguments': {x: 1,}}", [BEGIN, ARGUMENTS]),
    (
        '<tool_call>{"name": "f", "arguments": {"code": "a\nb\\d"}}',
        [BEGIN, CallArguments(0, '{"code": "a\\nb\\\\d"}')],
    ),
    (
        '<tool_call>{"name": "f", "arguments": {"x": "\\ud800"}}',
        [BEGIN, CallArguments(0, '{"x": "\\ufffd"}')],
    ),
    ("a < b <tool", [Content("a < b <tool")]),
    ("<tool_call> call me", [Content("<tool_call> call me")]),
    ("<tool_call>\n", [Content("<tool_call>\n")]),
    (f"<tool_call><tool_call>{CALL}", [Content("<tool_call><tool_call>"), BEGIN, ARGUMENTS]),
    ("<tool_call> {", [Malformed("{")]),
    (
        '\n<tool_call>\n{"name": "f", "argu',
        [BEGIN, CallArguments(0, '{"name": "f", "argu'), Malformed('{"name": "f", "argu')],
    ),
    ('<tool_call>{"name": 1}', [Malformed('{"name": 1}')]),
    ('<tool_call>{"name": "", "arguments": {}} x', [Malformed('{"name": "", "arguments": {}}'), Content("x")]),
    (
        '<tool_call>{"name": "f", "arguments": [1]}',
        [BEGIN, CallArguments(0, "[1]"), Malformed('{"name": "f", "arguments": [1]}')],
    ),
    (
        '<tool_call>{"name": "f", "arguments": {"x": NaN}}</tool_call>ok',
        [
            BEGIN,
            CallArguments(0, '{"x": NaN}}'),
            Malformed('{"name": "f", "arguments": {"x": NaN}}'),
            Content("ok"),
        ],
    ),
    (
        '<tool_call>{"name": "f", "arguments": {"x": "a',
        [BEGIN, CallArguments(0, '{"x": "a'), Malformed('{"name": "f", "arguments": {"x": "a')],
    ),
]


@pytest.mark.parametrize(("text", "expected"), EXAMPLES)
def test_examples(text: str, expected: list[Parsed]) -> None:
    assert parse(text) == expected


def test_a_call_that_was_cut_is_not_completed() -> None:
    """Else a client would write half a file; the finish reason says that it was cut."""
    assert parse('<tool_call>{"name": "f", "arguments": {"x": 1', is_cut=True) == [BEGIN, CallArguments(0, '{"x": ')]
    assert parse('<tool_call>{"name": "f", "argu', is_cut=True) == [Malformed('{"name": "f", "argu')]


def test_two_calls_are_numbered() -> None:
    pieces = parse(f"{CALL}\n{CALL}")
    assert pieces == [BEGIN, ARGUMENTS, CallBegin(1, "call_1", "f"), CallArguments(1, '{"x": 1}')]


def test_content_leaves_as_soon_as_it_cannot_be_a_tag() -> None:
    parser = ToolCallParser()
    assert parser.feed("if a ") == [Content("if a")]
    assert parser.feed("<") == []
    assert parser.feed("= b") == [Content(" <= b")]


def test_a_call_leaves_as_it_comes() -> None:
    parser = ToolCallParser()
    assert parser.feed('<tool_call>{"name": "f", "arguments": ') == []
    assert parser.feed('{"x') == [BEGIN, CallArguments(0, '{"x')]
    assert parser.feed('": "some te') == [CallArguments(0, '": "some te')]
    assert parser.feed('xt"}') == [CallArguments(0, 'xt"}')]
    assert parser.num_calls == 0
    assert parser.feed("}") == []
    assert parser.num_calls == 1


def test_ids_carry_the_prefix() -> None:
    assert ToolCallParser(prefix="call_r1_0").feed(CALL)[0] == CallBegin(0, "call_r1_0_0", "f")
