"""Following a text through edits."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from firesteel.engine.draft.follow import Follower

texts = st.lists(st.integers(0, 40), min_size=1, max_size=80)


def num_guessed(follower: Follower, output: list[int]) -> int:
    """Return how many tokens of `output` were the first token proposed before they came."""
    count = 0
    for token in output:
        draft = follower.propose(8)
        count += draft is not None and draft.tokens[0] == token
        follower.accept([token])
    return count


def test_a_text_that_is_repeated_is_guessed_whole() -> None:
    text = list(range(50))
    assert num_guessed(Follower("prediction", text, begins=True), text) == 50


def test_a_text_that_is_come_to_is_guessed_from_its_second_token() -> None:
    text = list(range(50))
    assert num_guessed(Follower("reference", text, begins=False), [99, 98, *text]) == 49


def test_insertions_deletions_and_replacements_cost_a_few_tokens_each() -> None:
    text = list(range(100))
    inserted = [*text[:30], 200, 201, 202, 203, *text[30:]]
    assert num_guessed(Follower("prediction", text, begins=True), inserted) >= 100 - 1
    deleted = [*text[:30], *text[45:]]
    assert num_guessed(Follower("prediction", text, begins=True), deleted) >= 85 - 2
    replaced = [*text[:30], 200, 201, *text[32:]]
    assert num_guessed(Follower("prediction", text, begins=True), replaced) >= 98 - 1


def test_a_replacement_that_was_made_is_expected_again() -> None:
    """Quotes, names: the first costs a token, those that follow none."""
    chooser = random.Random(0)
    words = [[chooser.randrange(10, 60) for _ in range(6)] for _ in range(12)]
    text = [token for word in words for token in [1, *word]]
    output = [token for word in words for token in [2, *word]]
    assert num_guessed(Follower("prediction", text, begins=True), output) >= len(output) - 1
    longer = [token for word in words for token in [2, 3, 4, *word]]
    follower = Follower("prediction", text, begins=True)
    assert num_guessed(follower, longer) >= len(longer) - 4


def test_a_replacement_that_is_not_made_any_more_is_given_up() -> None:
    words = [[10 + number] * 5 for number in range(20)]
    text = [token for word in words for token in [1, *word]]
    output = [token for number, word in enumerate(words) for token in [2 if number < 2 else 1, *word]]
    assert num_guessed(Follower("prediction", text, begins=True), output) >= len(output) - 6


@settings(max_examples=100, deadline=None)
@given(texts, st.lists(st.integers(0, 45), max_size=80), st.booleans(), st.integers(1, 20))
def test_a_rewind_is_as_if_it_had_never_been(text: list[int], output: list[int], begins: bool, keep: int) -> None:
    kept = output[:keep]
    rewound, fresh = (Follower("reference", text, begins=begins) for _ in range(2))
    rewound.accept(output)
    rewound.rewind(kept)
    for token in kept:
        fresh.accept([token])
    assert rewound.propose(20) == fresh.propose(20)


@settings(max_examples=200, deadline=None)
@given(texts, st.lists(st.integers(0, 45), max_size=80), st.booleans(), st.integers(1, 30))
def test_what_is_proposed_is_bounded_and_repeatable(
    text: list[int], output: list[int], begins: bool, max_tokens: int
) -> None:
    follower = Follower("prediction", text, begins=begins)
    for token in output:
        draft = follower.propose(max_tokens)
        assert draft == follower.propose(max_tokens)
        if draft is not None:
            assert 1 <= len(draft.tokens) == len(draft.evidence) <= max_tokens
            assert set(draft.tokens) <= set(text) | set(output)
        follower.accept([token])


def test_real_edits_are_mostly_guessed() -> None:
    """A file of 400 distinct-looking lines, 5 % of them changed: at least nine tokens of ten come for free."""
    chooser = random.Random(3)
    lines = [[chooser.randrange(100, 400) for _ in range(chooser.randint(3, 10))] + [1] for _ in range(400)]
    output = []
    for line in lines:
        change = chooser.random()
        if change < 0.02:
            output += [chooser.randrange(400, 500) for _ in range(6)] + [1] + line
        elif change < 0.03:
            continue
        elif change < 0.05:
            output += [*line[:2], chooser.randrange(400, 500), *line[3:]]
        else:
            output += line
    text = [token for line in lines for token in line]
    assert num_guessed(Follower("prediction", text, begins=True), output) >= 0.9 * len(output)
