from hypothesis import given
from hypothesis import strategies as st

from firesteel.events import merge
from firesteel.types import Delta, TokenLogprob

logprobs = st.builds(TokenLogprob, st.integers(0, 9), st.just(-1.0), st.just([]))
deltas = st.builds(Delta, st.just("s"), st.text(), st.integers(0, 9), st.lists(logprobs, max_size=3))


@given(st.lists(deltas, min_size=1), st.data())
def test_merging_in_any_groups_says_the_same(items: list[Delta], data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(items)))
    whole = merge(items)
    rest = items[cut:]
    assert merge([merge(items[:cut]), *([merge(rest)] if rest else [])]) == whole
    assert whole.text == "".join(item.text for item in items)
    assert whole.num_tokens == sum(item.num_tokens for item in items)
    assert whole.logprobs == [entry for item in items for entry in item.logprobs]


def test_one_delta_is_itself() -> None:
    delta = Delta("s", "x", 1)
    assert merge([delta]) is delta
