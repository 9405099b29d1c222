"""What stood before: the suffix index against brute force, prompt lookup, past outputs."""

from hypothesis import given, settings
from hypothesis import strategies as st

from firesteel.engine.draft.index import LONGEST_MATCH, MAX_PLACES, SuffixIndex
from firesteel.engine.draft.ngram import NgramDrafter
from firesteel.engine.draft.suffix import Corpus, SuffixDrafter

few = st.lists(st.integers(0, 3), max_size=60)


def brute(tokens: list[int], context: list[int], length: int) -> list[tuple[int, int]]:
    """All places behind an occurrence of the last `length` tokens of `context`, with the whole match; ascending."""
    found = []
    for place in range(length, len(tokens)):
        match = 0
        while match < min(place, len(context), LONGEST_MATCH) and tokens[place - 1 - match] == context[-1 - match]:
            match += 1
        if match >= length:
            found.append((place, match))
    return found


@settings(max_examples=200, deadline=None)
@given(st.lists(few, max_size=4), few, st.integers(1, 4))
def test_index_finds_the_latest_places(parts: list[list[int]], context: list[int], length: int) -> None:
    index = SuffixIndex(length)
    for part in parts:
        index.extend(part)
    tokens = [token for part in parts for token in part]
    assert index.tokens == tokens
    if len(context) < length:
        return
    found = index.find(context)
    every = brute(tokens, context, length)
    assert found == every[len(every) - len(found) :]
    assert len(found) >= min(len(every), MAX_PLACES - 1)  # the end of the list may be a place, with nothing behind


@settings(max_examples=200, deadline=None)
@given(few, st.integers(0, 60), few, few)
def test_what_was_truncated_is_not_found(tokens: list[int], keep: int, more: list[int], context: list[int]) -> None:
    index = SuffixIndex(2)
    index.extend(tokens)
    index.truncate(keep)
    index.extend(more)
    assert index.tokens == tokens[:keep] + more
    if len(context) >= 2:
        assert {place for place, _ in index.find(context)} <= {place for place, _ in brute(index.tokens, context, 2)}


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=40), st.lists(st.integers(0, 5), max_size=40), st.integers(1, 9)
)
def test_prompt_lookup_proposes_what_followed_the_longest_match(
    prompt: list[int], output: list[int], max_tokens: int
) -> None:
    drafter = NgramDrafter(prompt)
    drafter.propose(max_tokens)
    drafter.accept(output)
    draft = drafter.propose(max_tokens)
    known = prompt + output
    every = brute(known, known, 2)
    if draft is None:
        assert not every
        return
    assert len(draft.tokens) == max_tokens
    latest = [place for place, match in every[-MAX_PLACES + 1 :]]
    starts = {known[place] for place in latest}
    assert draft.tokens[0] in starts


def test_what_repeats_is_proposed_beyond_the_end() -> None:
    drafter = NgramDrafter([9, 1, 2, 3, 1, 2])
    draft = drafter.propose(8)
    assert draft is not None
    assert draft.tokens == [3, 1, 2, 3, 1, 2, 3, 1]


def test_a_rewound_lookup_knows_what_stays() -> None:
    drafter = NgramDrafter([1, 2, 3, 4])
    drafter.propose(4)
    drafter.accept([7, 8, 1, 2])
    drafter.rewind([7, 1, 2])
    draft = drafter.propose(3)
    assert draft is not None
    assert draft.tokens == [3, 4, 7]


def test_most_past_outputs_decide() -> None:
    corpus = Corpus()
    for last in (50, 60, 50, 50, 50, 50):
        corpus.add([1, 2, 3, 4, last, last + 1])
    drafter = SuffixDrafter(corpus, [9, 1, 2])
    drafter.accept([3, 4])
    draft = drafter.propose(4)
    assert draft is not None
    assert draft.tokens == [50, 51]
    unanimous, shared = draft.evidence[1], draft.evidence[0]
    assert isinstance(unanimous, tuple)
    assert isinstance(shared, tuple)
    assert unanimous[1] > shared[1]


def test_outputs_do_not_run_into_one_another() -> None:
    corpus = Corpus()
    corpus.add([1, 2, 3])
    corpus.add([7, 8, 9])
    drafter = SuffixDrafter(corpus, [1, 2, 3])
    assert drafter.propose(4) is None


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=70), max_size=30))
def test_a_corpus_is_bounded_and_keeps_the_latest(outputs: list[list[int]]) -> None:
    corpus = Corpus(max_tokens=100)
    for output in outputs:
        corpus.add(output)
        assert corpus.num_tokens <= 100
        kept = output[-20:]
        if len(kept) >= 4:
            assert corpus.continuations(kept[:3], 1)[1]
