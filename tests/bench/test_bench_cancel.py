import pytest

from firesteel.bench import cancel, sides
from firesteel.bench.cancel import Idle
from firesteel.bench.conversation import Conversation
from firesteel.bench.options import Options
from firesteel.bench.sides import Side
from firesteel.bench.subject import Subject
from firesteel.errors import EngineFailure


def test_moments_spread_over_the_first_half_of_a_prefill() -> None:
    moments = [cancel.moment(number, 100.0) for number in range(1, 21)]
    assert all(5 <= moment <= 50 for moment in moments)
    quarters = [sum(low <= moment < low + 11.25 for moment in moments) for low in (5, 16.25, 27.5, 38.75)]
    assert min(quarters) >= 4


def test_measured_on_a_slow_scripted_backend(slow_subject: Subject) -> None:
    options = Options(kind="cancel", model="scripted", pairs=2, tokens=(4_000,), with_peer=True)
    measured = cancel.measure(options, slow_subject)
    assert len(measured.ours) == len(measured.theirs) == 2
    assert len(measured.details["engine_idle_ms"]) == cancel.NUM_WATCHED
    assert 3_000 < measured.details["ours_idle"]["prefill_tokens_per_second"] < 5_000
    assert measured.ceiling.value > 0
    assert max(measured.ours) < 400, "the prefill goes on for more than 400 ms after each of these cancellations"


def test_a_prefill_that_is_over_cannot_be_cancelled(subject: Subject) -> None:
    with pytest.raises(EngineFailure, match="--tokens"), sides.ours(subject) as side:
        cancel.leave(side, "x = 1", 1, after=1.0)


def test_a_prefill_that_is_over_sooner_than_expected_is_tried_again_in_half_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[tuple[str, float]] = []

    def is_cancelled(_: Side, conversation: Conversation, after: float) -> bool:
        tried.append((conversation.messages[0]["content"], after))
        return after < 3

    monkeypatch.setattr(cancel, "is_cancelled", is_cancelled)
    cancel.leave(None, "x = 1", 1, after=8.0)  # type: ignore[arg-type]
    assert [after for _, after in tried] == [8.0, 4.0, 2.0]
    assert len({system for system, _ in tried}) == 3, "a prompt that was computed once must not be asked again"


def test_a_probe_shares_next_to_nothing_with_another(subject: Subject) -> None:
    first, second = (cancel.probe(number).messages[0]["content"] for number in (3, 12))
    assert first[0] != second[0]


def test_idle_times_are_told_in_the_units_that_people_use() -> None:
    found = cancel.described({"ours": Idle(probe=0.002, prefill_per_token=0.01)})
    assert found == {"ours_idle": {"probe_ms": 2.0, "prefill_tokens_per_second": 100.0}}
