from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firesteel.stream.sse import DONE, SSEComment, SSEDecoder, SSEItem, SSEMessage, comment, encode


def decode(*parts: bytes) -> list[SSEItem]:
    decoder = SSEDecoder()
    items = [item for part in parts for item in decoder.feed(part)]
    decoder.finish()
    return items


lines = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]))


@given(st.lists(lines | st.lists(lines, min_size=2).map("\n".join)))
def test_round_trip(texts: list[str]) -> None:
    stream = b"".join(encode(text.encode()) for text in texts)
    assert decode(stream) == [SSEMessage(text) for text in texts]


streams = st.lists(
    st.sampled_from(
        [
            "data: é\n",
            "data:a\r\n",
            "data\r",
            ": note\n",
            "event: error\n",
            "id: 7\n",
            "retry: 1\n",
            "\n",
            "\r",
            "\r\n",
        ]
    )
).map(lambda parts: ("".join(parts) + "\n\n").encode())


@given(streams, st.lists(st.integers(0, 200)))
def test_items_do_not_depend_on_the_cuts(stream: bytes, cuts: list[int]) -> None:
    whole = decode(stream)
    assert decode(*(bytes([byte]) for byte in stream)) == whole
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    assert decode(*(stream[a:b] for a, b in pairwise(places))) == whole


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"", []),
        (DONE, [SSEMessage("[DONE]")]),
        (b"data: a\ndata:b\ndata:  c\n\n", [SSEMessage("a\nb\n c")]),
        (b"data\n\n", [SSEMessage("")]),
        (b"event: error\ndata: x\n\ndata: y\n\n", [SSEMessage("x", "error"), SSEMessage("y")]),
        (b"event: lonely\n\ndata: y\n\n", [SSEMessage("y")]),
        (b"data: a\r\rdata: b\r\n\r\n", [SSEMessage("a"), SSEMessage("b")]),
        (b"\xef\xbb\xbfdata: a\n\n", [SSEMessage("a")]),
        (b"data: a\n: in between\ndata: b\n\n", [SSEComment("in between"), SSEMessage("a\nb")]),
        (comment("prefill 1/2"), [SSEComment("prefill 1/2")]),
    ],
)
def test_examples(stream: bytes, expected: list[SSEItem]) -> None:
    assert decode(stream) == expected


@pytest.mark.parametrize(
    "stream",
    [b"datum: a\n", b"{}\n", b"data: \xff\n", b"data: a\n", b"data: a", b"data: \xc3", b"event: x\n"],
)
def test_what_is_no_event_stream_is_an_error(stream: bytes) -> None:
    with pytest.raises(ValueError, match=r"event|utf-8"):
        decode(stream)


def test_bytes_on_the_wire() -> None:
    assert encode(b'{"a":1}') == b'data: {"a":1}\n\n'
    assert encode(b"a\r\nb\rc") == b"data: a\ndata: b\ndata: c\n\n"
    assert comment("prefill 1/2") == b": prefill 1/2\n\n"
