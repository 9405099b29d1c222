"""Drafting on the device against its twin in plain Python, a round at a time."""

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from firesteel.backend.cuda import lookup
from firesteel.backend.cuda.lookup import Lanes
from firesteel.backend.cuda.lookup_plain import Place, accepted, follow, ngram, propose

tokens = st.integers(0, 3)  # few, so that much repeats
texts = st.lists(tokens, min_size=1, max_size=40)


@st.composite
def lanes(draw: Any) -> tuple[list[int], list[int], Place, int]:
    """A text, an expected one, a place in it, and how many tokens may come."""
    text, expected = draw(texts), draw(st.lists(tokens, max_size=24))
    place = Place(draw(st.integers(0, len(expected))), draw(st.booleans()))
    return text, expected, place, draw(st.integers(0, 12))


def on_device(given_lanes: list[tuple[list[int], list[int], Place, int]]) -> Lanes:
    made = lookup.make(len(given_lanes), 128, 32, "cpu")
    for index, (text, expected, place, limit) in enumerate(given_lanes):
        made.text[index, : len(text)] = torch.tensor(text)
        made.expected[index, : len(expected)] = torch.tensor(expected, dtype=torch.int64)
        made.count[index], made.end[index] = len(text), len(text) + limit
        made.expected_size[index], made.at[index], made.is_sure[index] = len(expected), place.at, place.is_sure
    return made


@settings(max_examples=200, deadline=None)
@given(given_lanes=st.lists(lanes(), min_size=1, max_size=4), most=st.integers(1, 9), data=st.data())
def test_rounds_are_those_of_the_twin(given_lanes: list[Any], most: int, data: st.DataObject) -> None:
    made = on_device(given_lanes)
    for _ in range(3):
        draft, num_drafted = lookup.propose(made, most)
        drafts = [propose(text, expected, place, most) for text, expected, place, _ in given_lanes]
        assert [row[:count].tolist() for row, count in zip(draft, num_drafted, strict=True)] == drafts
        said = [data.draw(st.lists(tokens, min_size=most + 1, max_size=most + 1)) for _ in given_lanes]
        right = [data.draw(st.integers(0, most)) for _ in given_lanes]
        chosen = [(one[:count] + other)[: most + 1] for one, count, other in zip(drafts, right, said, strict=True)]
        num_new = lookup.accept(made, draft, num_drafted, torch.tensor(chosen))
        lookup.follow(made, num_new, most + 1)
        for index, (text, expected, place, limit) in enumerate(given_lanes):
            new = accepted(drafts[index], chosen[index])[:limit]
            text += new
            place = follow(text, expected, place, len(new)) if new else place
            given_lanes[index] = (text, expected, place, limit - len(new))
            assert int(num_new[index]) == len(new)
            assert made.text[index, : int(made.count[index])].tolist() == text
            assert (int(made.at[index]), bool(made.is_sure[index])) == tuple(place)


def test_a_text_is_followed_over_an_edit() -> None:
    """One token replaced by two: lost for two tokens, then found again."""
    expected, place, text = list(range(100, 140)), Place(), [1, 2]
    said = [*range(100, 110), 7, 8, *range(111, 140)]
    num_rounds = 0
    while len(text) < 2 + len(said):
        draft = propose(text, expected, place, 7)
        rest = said[len(text) - 2 :]
        new = accepted(draft, [*rest[: len(draft) + 1], 0])[: len(rest)]
        text += new
        place = follow(text, expected, place, len(new))
        num_rounds += 1
    assert text[2:] == said
    assert num_rounds <= 10


def test_what_repeats_goes_on_repeating() -> None:
    assert ngram([5, 1, 2, 1, 2], 5) == [1, 2, 1, 2, 1]
    assert ngram([1, 2, 3], 5) == []
