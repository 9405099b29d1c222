import pytest

from firesteel.bench import conversation, ttft
from firesteel.bench.conversation import Conversation, follow_up, text_of
from firesteel.bench.options import Options
from firesteel.bench.subject import Subject
from firesteel.bench.ttft import Turn
from tests.bench.answers import answer


def test_the_last_token_of_an_answer_was_never_computed() -> None:
    assert ttft.known_tokens(answer(num_prompt_tokens=100, num_tokens=8)) == 107


def test_a_row_tells_new_tokens_from_those_computed_again() -> None:
    turn = Turn(answer(first=0.3, num_prompt_tokens=150, num_cached_tokens=90), num_known=107, bare_seconds=0.2)
    assert turn.ratio == pytest.approx(1.5)
    found = ttft.row(1024, "ours", [turn])
    assert (found["new"], found["recomputed"]) == (43, 17)
    assert (found["ttft_ms"], found["bare_ms"]) == (pytest.approx(300), pytest.approx(200))


def test_summary_keeps_pairs_in_order() -> None:
    def turns(*ratios: float) -> list[Turn]:
        return [Turn(answer(first=ratio), 107, 1.0) for ratio in ratios]

    found = {1024: {"ours": turns(1.1, 1.2), "peer": turns(2.1, 2.2)}, 4096: {"ours": turns(1.3), "peer": turns(2.3)}}
    measured = ttft.summary(found)
    assert measured.ours == [1.1, 1.2, 1.3]
    assert measured.theirs == [2.1, 2.2, 2.3]
    assert len(measured.details["by_history"]) == 4


def test_measured_on_the_scripted_backend(subject: Subject) -> None:
    measured = ttft.measure(Options(kind="ttft", model="scripted", pairs=2, tokens=(300, 700), with_peer=True), subject)
    assert len(measured.ours) == len(measured.theirs) == 4
    assert all(ratio > 0 for ratio in measured.ours)
    rows = measured.details["by_history"]
    assert [(row["history"], row["server"]) for row in rows] == [
        (history, name) for history in (300, 700) for name in ("ours", "peer")
    ]
    assert all(row["recomputed"] == 0 for row in rows), "a warm follow-up computes its new tokens only"


def test_text_has_the_number_of_tokens_and_goes_on_where_it_stopped(subject: Subject) -> None:
    tokenizer = subject.tokenizer
    text = text_of(tokenizer, 500)
    assert abs(len(tokenizer.encode(text, special=False)) - 500) <= 2
    assert text_of(tokenizer, 800) == text + text_of(tokenizer, 300, skip=500)
    assert conversation.source().startswith(text)


def test_a_conversation_keeps_its_turns() -> None:
    talk = Conversation.about("x = 1")
    talk.assistant("yes")
    talk.user(follow_up(3))
    assert [message["role"] for message in talk.messages] == ["system", "user", "assistant", "user"]
    body = talk.body("m", 8)
    assert body["messages"] is talk.messages
    assert body["temperature"] == 0
    assert follow_up(3) != follow_up(4)
