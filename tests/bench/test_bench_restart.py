import pytest

from firesteel.bench import restart
from firesteel.bench.options import Options
from firesteel.bench.restart import Restart
from firesteel.bench.subject import Subject
from tests.bench.answers import answer


def test_shares_are_of_what_had_been_computed() -> None:
    warm = answer(first=0.5, num_prompt_tokens=1_040, num_cached_tokens=950)
    one = Restart("stopped", answer(first=5.0), warm, num_known=1_000)
    assert one.ratio == pytest.approx(0.1)
    assert one.cached_share == pytest.approx(0.95)
    assert one.new_share == pytest.approx(40 / 1_040)


def test_measured_on_the_scripted_backend(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restart, "SECONDS_BEFORE_KILL", 1.0)
    options = Options(kind="restart", model="scripted", pairs=1, tokens=(1_000,), with_peer=True)
    measured = restart.measure(options, subject)
    assert len(measured.ours) == len(measured.theirs) == 2
    rows = {(row["server"], row["ended_by"]): row for row in measured.details["restarts"]}
    assert rows["ours", "SIGTERM"]["cached_share"] >= 0.95
    assert rows["ours", "SIGKILL"]["cached_share"] >= 0.7
    assert rows["peer", "SIGTERM"]["cached_share"] == 0
    assert 0 < measured.ceiling.value < 0.1
