"""Answers that are calls without tags, and all that only looks like it."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firesteel.wire.tool_calls import CallArguments, CallBegin, Content, Malformed, Parsed, ToolCallParser

NAMES = ("f", "get_weather")
BEGIN, ARGUMENTS = CallBegin(0, "call_0", "f"), CallArguments(0, '{"x": 1}')
CALL = '{"name": "f", "arguments": {"x": 1}}'
SECOND = [CallBegin(1, "call_1", "f"), CallArguments(1, '{"x": 1}')]


def parse(*texts: str, is_cut: bool = False, single: bool = False) -> list[Parsed]:
    """Return the pieces of `texts`, neighbouring content and arguments joined."""
    parser = ToolCallParser(names=NAMES, single=single)
    pieces: list[Parsed] = []
    for piece in [piece for text in texts for piece in parser.feed(text)] + parser.finish(is_cut=is_cut):
        last = pieces[-1] if pieces else None
        if isinstance(piece, Content) and isinstance(last, Content):
            pieces[-1] = Content(last.text + piece.text)
        elif isinstance(piece, CallArguments) and isinstance(last, CallArguments):
            pieces[-1] = CallArguments(piece.index, last.text + piece.text)
        else:
            pieces.append(piece)
    assert parser.num_calls == sum(isinstance(piece, CallBegin) for piece in pieces)
    return pieces


@pytest.mark.parametrize(
    "text",
    [
        CALL,
        f"\n {CALL}\n",
        f"```json\n{CALL}\n```",
        f"```\n{CALL}```\n",
        f"```tool_call\n{CALL}",
        f"[{CALL}]",
        f"{CALL}\n</tool_call>",
        '{"arguments": {"x": 1}, "name": "f"}',
        '{"type": "function", "function": {"name": "f", "parameters": {"x": 1}}}',
        '{"name": "f", "arguments": "{\\"x\\": 1}"}',
        "{'name': 'f', 'arguments': {'x': 1}}",
        '{"name": "f", "arguments": {"x": 1}',
    ],
)
def test_an_answer_that_is_nothing_but_a_call_is_one(text: str) -> None:
    assert parse(text) == [BEGIN, ARGUMENTS]
    assert parse(*text) == [BEGIN, ARGUMENTS]


@pytest.mark.parametrize("text", [f"[{CALL}, {CALL}]", f"{CALL}\n{CALL}", f"```json\n[\n{CALL},\n{CALL}\n]\n```"])
def test_several_calls_unless_one_is_wanted(text: str) -> None:
    assert parse(text) == [BEGIN, ARGUMENTS, *SECOND]
    assert parse(text, single=True) == [BEGIN, ARGUMENTS]


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "package", "version": 1}',
        '{"name": "f", "version": 1}',
        '{"type": "object", "properties": {}}',
        '{"name": "other", "arguments": {"x": 1}}',
        f"{CALL} is how you call it.",
        f"Call it so:\n```json\n{CALL}\n```",
        f"```json\n{CALL}\n```\nThis calls it.",
        "```python\nx = {}\n```",
        "[1, 2]",
        "[]",
        "{}",
        "{",
        "``",
    ],
)
def test_anything_else_is_content_to_the_last_character(text: str) -> None:
    assert parse(text) == [Content(text)]
    assert parse(*text) == [Content(text)]


def test_what_cannot_be_a_call_leaves_at_once() -> None:
    for head in ("```p", "Hello", '{\n  "key', '{"name": "package"', '{"type": "object"', "[1"):
        assert ToolCallParser(names=NAMES).feed(head) == [Content(head)]


def test_a_call_that_is_broken_or_cut_never_becomes_text() -> None:
    broken = '{"name": "f", "arguments": {"x": ]}}'
    assert Malformed(broken) in parse(broken)
    assert Content not in {type(piece) for piece in parse(broken)}
    cut = parse('{"name": "f", "arguments": {"x": 1', is_cut=True)
    assert cut[0] == BEGIN
    assert Content not in {type(piece) for piece in cut}


def test_tags_are_read_as_ever() -> None:
    assert parse(f"<tool_call>{CALL}</tool_call>") == [BEGIN, ARGUMENTS]
    assert parse(f"[<tool_call>{CALL}</tool_call>") == [Content("["), BEGIN, ARGUMENTS]


def test_without_names_nothing_is_held() -> None:
    assert ToolCallParser().feed(CALL) == [Content(CALL)]


fragments = st.sampled_from(
    [
        *("```", "json", "\n", "[", "]", "{", "}", ",", " ", "'", '"', "x", "<tool_call>", "</tool_call>", CALL),
        *('"name": "f"', '"name": "g"', '"arguments": {"x": 1}', '"type": "function"', '"function": '),
    ]
)


@given(st.lists(fragments, max_size=10).map("".join), st.lists(st.integers(0, 200)), st.booleans(), st.booleans())
def test_pieces_do_not_depend_on_the_cuts(text: str, cuts: list[int], is_cut: bool, single: bool) -> None:
    whole = parse(text, is_cut=is_cut, single=single)
    places = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    assert parse(*[text[a:b] for a, b in pairwise(places)], is_cut=is_cut, single=single) == whole


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=9), max_size=3), st.integers(0, 4))
def test_any_arguments_come_through(arguments: dict[str, object], indent: int) -> None:
    text = json.dumps({"name": "get_weather", "arguments": arguments}, indent=indent or None)
    begin, *rest = parse(text)
    assert begin == CallBegin(0, "call_0", "get_weather")
    assert json.loads("".join(piece.text for piece in rest if isinstance(piece, CallArguments))) == arguments
