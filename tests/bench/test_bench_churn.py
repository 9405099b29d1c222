import pytest
from hypothesis import given
from hypothesis import strategies as st

from firesteel.bench import churn
from firesteel.bench.churn import Sizes, Talks, Turn
from firesteel.bench.options import Options
from firesteel.bench.sides import Side
from firesteel.bench.subject import Subject
from tests.bench.answers import answer


def turn(prompt: int, cached: int, known: int) -> Turn:
    return Turn(answer(num_prompt_tokens=prompt, num_cached_tokens=cached), known)


def talks(*rounds: list[Turn]) -> Talks:
    found = Talks(None, [])  # type: ignore[arg-type]
    found.rounds = [*rounds]
    return found


def test_computed_counts_rounds_after_the_first() -> None:
    one = talks([turn(100, 0, 0)] * 2, [turn(150, 90, 107), turn(150, 107, 107)], [turn(200, 0, 157)])
    assert churn.computed(one) == [60 + 43, 200]
    found = churn.row("ours", one)
    assert found["first_round_computed"] == 200
    assert found["new_a_round"] == (43 + 43 + 43) / 2


def test_floor_is_what_is_new_and_what_does_not_fit() -> None:
    sizes = Sizes(context_tokens=100, cache_mib=1)
    one = talks([], [turn(150, 0, 120), turn(150, 0, 120)])
    everything_fits = churn.floor(one, sizes, shared=20, bytes_per_token=1.0)
    assert everything_fits.value == 60
    nearly_nothing_fits = churn.floor(one, sizes, shared=20, bytes_per_token=churn.MIB / 10)
    assert nearly_nothing_fits.value == 60 + (20 + 100 + 100) - 110


@given(st.integers(0, 4_000), st.integers(64, 4_000), st.integers(1, 10), st.floats(1_000, 200_000))
def test_one_conversation_fits_and_all_of_them_do_not(shared: int, private: int, rounds: int, per_token: float) -> None:
    sizes = churn.sizes_for(shared, private, rounds, per_token)
    longest = private + rounds * churn.ROUND_TOKENS
    assert sizes.context_tokens >= shared + longest
    assert sizes.context_tokens % 256 == 0
    needed = (shared + churn.NUM_CONVERSATIONS * longest) * per_token / churn.MIB
    assert sizes.cache_mib <= max(1, needed)
    assert sizes.cache_mb * 1_000_000 <= sizes.cache_mib * churn.MIB


@pytest.mark.parametrize("separate", [False, True])
def test_conversations_share_their_beginning_or_not(subject: Subject, separate: bool) -> None:
    found = churn.openings(subject, 0 if separate else 100, 50)
    systems = {conversation.messages[0]["content"] for conversation in found}
    assert len(systems) == (churn.NUM_CONVERSATIONS if separate else 1)
    assert len({conversation.messages[1]["content"] for conversation in found}) == churn.NUM_CONVERSATIONS


def test_measured_on_the_scripted_backend(subject: Subject) -> None:
    options = Options(kind="churn", model="scripted", pairs=2, tokens=(100,), with_peer=True)
    measured = churn.measure(options, subject)
    assert len(measured.ours) == len(measured.theirs) == 2
    assert measured.ceiling.value > 0
    rows = measured.details["sides"]
    assert [row["server"] for row in rows] == ["ours", "peer", "ours, disk"]
    assert all(row["computed_a_round"] >= row["new_a_round"] for row in rows)
    assert measured.details["memory"]["context_tokens"] % 256 == 0


def test_a_conversation_is_answered_by_its_own_words(subject: Subject) -> None:
    asked: list[list[str]] = []

    class Echo:
        def ask(self, conversation: object, _: int) -> object:
            asked.append([message["content"] for message in conversation.messages])  # type: ignore[attr-defined]
            return answer(text=f"answer {len(asked)}")

    side: Side = Echo()  # type: ignore[assignment]
    one = Talks(side, churn.copies(churn.openings(subject, 0, 50))[:2])
    for number in range(2):
        for index in range(2):
            one.say(index, number)
    assert [messages[2:-1] for messages in asked[2:]] == [["answer 1"], ["answer 2"]]
    assert [turn.num_known for turn in one.rounds[1]] == [107, 107]
