import pytest

from firesteel.bench import steer
from firesteel.bench.options import Options
from firesteel.bench.steer import Resend, Split, Stream
from firesteel.bench.subject import Subject
from firesteel.errors import EngineFailure
from firesteel.types import Delta, Failure, Finish, Usage

USAGE = Usage(num_prompt_tokens=1, num_cached_tokens=0, num_output_tokens=1)


def test_what_is_neither_boundary_nor_new_tokens_is_overhead() -> None:
    split = Split(boundary=0.2, total=0.65, bare=0.4, num_known=4_100, num_new=33)
    assert split.overhead == pytest.approx(0.05)


def test_floor_is_the_boundary_and_the_bare_prefill() -> None:
    splits = [Split(boundary, boundary + 0.5, 0.4, 100, 30) for boundary in (0.1, 0.2, 0.6)]
    measured = steer.summary(4096, splits, [Resend(2.0, 900)] * 3)
    assert measured.ceiling.value == pytest.approx(600)
    assert measured.ours == pytest.approx([600, 700, 1100])
    assert measured.details["overhead_ms"] == pytest.approx([100, 100, 100])
    assert measured.details["peer_computed_tokens"] == [900, 900, 900]


def test_the_user_speaks_at_many_places() -> None:
    moments = [steer.moment(number) for number in range(steer.MOMENTS)]
    assert sorted(moments) == list(range(8, 31))


def test_a_stream_returns_the_wanted_event_with_its_time() -> None:
    stream = Stream()
    stream.deliver(Delta("a", "x", 1))
    stream.deliver(Finish("a", "steered", USAGE))
    first, _ = stream.until(lambda event: isinstance(event, Delta))
    second, _ = stream.until(lambda event: isinstance(event, Finish))
    assert first <= second


@pytest.mark.parametrize("event", [Finish("a", "stop", USAGE), Failure("a", "not_running", "gone")])
def test_a_sequence_that_ends_first_is_a_failure(event: Finish | Failure) -> None:
    stream = Stream()
    stream.deliver(event)
    with pytest.raises(EngineFailure, match="ended before"):
        stream.until(lambda event: isinstance(event, Delta))


def test_measured_on_a_slow_scripted_backend(slow_subject: Subject) -> None:
    options = Options(kind="steer", model="scripted", pairs=2, tokens=(600,), with_peer=True)
    measured = steer.measure(options, slow_subject)
    assert len(measured.ours) == len(measured.theirs) == 2
    assert all(value > 0 for value in [*measured.ours, *measured.theirs, *measured.details["boundary_ms"]])
    assert all(number < 60 for number in measured.details["new_tokens"])
