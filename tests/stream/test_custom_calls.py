"""Calls of custom tools are found wherever the text was cut, and no other text is lost."""

from hypothesis import given
from hypothesis import strategies as st

from firesteel.stream.custom_calls import CustomBegin, CustomCalls, CustomEnd, CustomPiece, CustomText, PlainText
from firesteel.wire.response_tools import custom_call

PARTS = st.one_of(
    st.text(alphabet='ab<>{}"\\\n/ _toolcn', max_size=12),
    st.sampled_from(["<tool_call>", "</tool_call>", '{"name": "patch"}', "\n", "<tool_call>\n", '{"name": "run", ']),
    st.builds(custom_call, st.sampled_from(["patch", 'q"uote']), st.text(alphabet="+- <\n", max_size=8)),
)


def pieces(texts: list[str], *, closed: bool = False) -> list[CustomPiece]:
    """Return what comes of `texts`, neighbouring texts of one kind put together."""
    calls = CustomCalls()
    found = [piece for text in texts for piece in calls.feed(text)] + calls.finish(closed=closed)
    joined: list[CustomPiece] = []
    for piece in found:
        last = joined[-1] if joined else None
        if isinstance(piece, PlainText) and isinstance(last, PlainText):
            joined[-1] = PlainText(last.text + piece.text)
        elif isinstance(piece, CustomText) and isinstance(last, CustomText):
            joined[-1] = CustomText(last.text + piece.text)
        else:
            joined.append(piece)
    return joined


@given(st.lists(PARTS, max_size=8), st.data())
def test_the_pieces_do_not_depend_on_the_cuts(parts: list[str], data: st.DataObject) -> None:
    text = "".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    whole = pieces([text])
    assert pieces([text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]) == whole
    assert pieces(list(text)) == whole


@given(st.text(alphabet="+- *a<\n", max_size=40))
def test_what_a_tool_is_called_with_comes_out_as_it_went_in(text: str) -> None:
    found = pieces([f"Now:\n{custom_call('patch', text)}\n and so on"])
    said = [CustomText(text)] if text else []
    assert found == [PlainText("Now:"), CustomBegin("patch"), *said, CustomEnd(), PlainText("and so on")]


@given(st.text(alphabet='ab<>{}"\n', max_size=40))
def test_text_without_calls_is_let_through(text: str) -> None:
    assert "".join(piece.text for piece in pieces([text]) if isinstance(piece, PlainText)) == text


def test_a_stop_string_takes_the_closing_tag_away() -> None:
    cut = custom_call("patch", "x").removesuffix("</tool_call>")
    assert pieces([cut], closed=True) == [CustomBegin("patch"), CustomText("x"), CustomEnd()]
    assert pieces([cut]) == [CustomBegin("patch"), CustomText("x\n")]


def test_a_call_with_arguments_is_none_of_ours() -> None:
    text = '<tool_call>\n{"name": "run", "arguments": {}}\n</tool_call>'
    assert pieces([text]) == [PlainText(text)]
