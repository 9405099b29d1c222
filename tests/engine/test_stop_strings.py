import random

from hypothesis import given
from hypothesis import strategies as st

from firesteel.engine.stop import StopStrings

letters = st.text(alphabet="abc", max_size=40)
stops = st.lists(st.text(alphabet="abc", min_size=1, max_size=4), min_size=1, max_size=3)


def released(pieces: list[str], stops: tuple[str, ...]) -> tuple[str, bool]:
    watcher = StopStrings(stops)
    text = "".join(watcher.feed(piece) for piece in pieces)
    return text + watcher.finish(), watcher.stopped


def cut(text: str, seed: int) -> list[str]:
    chooser = random.Random(seed)
    ends = sorted(chooser.sample(range(len(text) + 1), min(3, len(text) + 1)))
    return [text[a:b] for a, b in zip([0, *ends], [*ends, len(text)], strict=True)]


def reference(text: str, stops: tuple[str, ...]) -> tuple[str, bool]:
    """The slow twin: grow the text one character at a time until it ends with a stop string."""
    for end in range(len(text) + 1):
        found = [stop for stop in stops if text[:end].endswith(stop)]
        if found:
            return text[: end - max(map(len, found))], True
    return text, False


@given(letters, stops, st.integers())
def test_output_does_not_depend_on_cuts(text: str, stops: list[str], seed: int) -> None:
    expected = reference(text, tuple(stops))
    assert released([text], tuple(stops)) == expected
    assert released(list(text), tuple(stops)) == expected
    assert released(cut(text, seed), tuple(stops)) == expected


@given(letters, stops)
def test_a_stop_string_never_leaks(text: str, stops: list[str]) -> None:
    watcher = StopStrings(tuple(stops))
    seen = ""
    for letter in text:
        seen += watcher.feed(letter)
        assert not any(stop in seen for stop in stops)


def test_text_that_cannot_become_a_stop_string_leaves_at_once() -> None:
    watcher = StopStrings(("\n\n",))
    assert watcher.feed("a") == "a"
    assert watcher.feed("b\n") == "b"
    assert watcher.feed("c") == "\nc"
