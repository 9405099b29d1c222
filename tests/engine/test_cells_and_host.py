import pytest
from hypothesis import given
from hypothesis import strategies as st

from firesteel.engine.kv.cells import Cells
from firesteel.engine.kv.host import HostCache, num_common, token_array

tokens = st.lists(st.integers(0, 2), max_size=8)


@given(tokens, tokens)
def test_num_common_equals_a_plain_count(left: list[int], right: list[int]) -> None:
    expected = 0
    for a, b in zip(left, right, strict=False):
        if a != b:
            break
        expected += 1
    assert num_common(token_array(left), token_array(right)) == expected


@given(st.lists(tokens, max_size=12), tokens)
def test_match_finds_a_longest_prefix_of_what_was_put(stored: list[list[int]], wanted: list[int]) -> None:
    cache = HostCache(max_bytes=1_000)
    for entry in stored:
        cache.put(token_array(entry), tuple(entry), len(entry))
    best = max((num_common(token_array(e), token_array(wanted)) for e in stored), default=0)
    entry_found, length = cache.match(token_array(wanted))
    assert length == best
    if entry_found is not None:
        assert list(entry_found.tokens[:length]) == wanted[:length]
        assert list(entry_found.tokens) == list(entry_found.state)


@given(st.lists(tokens.filter(bool), max_size=20), st.integers(1, 20))
def test_bytes_stay_within_the_bound_and_the_newest_stays(stored: list[list[int]], bound: int) -> None:
    cache = HostCache(max_bytes=bound)
    for entry in stored:
        cache.put(token_array(entry), None, len(entry))
        assert cache.num_bytes <= bound
        assert cache.num_bytes == cache.num_tokens
        if len(entry) <= bound:
            assert cache.match(token_array(entry))[1] == len(entry)


def test_cells_count_and_refuse_more_than_there_are() -> None:
    cells = Cells(10)
    cells.lease(0, 6)
    cells.lease(1, 4)
    cells.lease(0, 2)
    assert (cells.num_leased, cells.num_free) == (6, 4)
    cells.release(1)
    cells.release(1)
    assert cells.num_free == 8
    with pytest.raises(AssertionError):
        cells.lease(2, 9)


def test_the_number_of_entries_is_bounded_and_covered_ones_are_not_stored_twice() -> None:
    cache = HostCache(max_bytes=10**9)
    for number in range(1000):
        cache.put(token_array([number, 1, 2]), None, 3)
    assert len(cache) == 256
    cache.put(token_array([999, 1]), None, 2)
    assert len(cache) == 256
    assert cache.num_bytes == cache.num_tokens
