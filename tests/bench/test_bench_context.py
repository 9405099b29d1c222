from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firesteel.backend.scripted import ScriptedBackend
from firesteel.bench import context, end_to_end
from firesteel.bench.options import Options
from firesteel.bench.subject import Subject
from firesteel.clock import SystemClock


def test_measured_on_the_scripted_backend(subject: Subject) -> None:
    measured = context.measure(Options(kind="context", model="scripted", pairs=1, tokens=(700, 300)), subject)
    rows = measured.details["by_history_ms"]
    assert [row["history"] for row in rows] == [300, 700]
    assert {"1_row", "2_rows", "8_rows", "16_rows", "64_rows", "floor", "rss_mb", "predicted_mb"} < set(rows[0])
    assert len(measured.ours) == context.RUNS
    assert measured.theirs == []


def test_a_history_beyond_the_training_is_stretched(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Subject, "trained_context", 512)
    opened: list[Any] = []

    def open_backend(self: Subject, *, context_tokens: int, yarn: float | None, **_: Any) -> ScriptedBackend:
        opened.append((context_tokens, yarn))
        return ScriptedBackend(None, self.engine_config(context_tokens=context_tokens), SystemClock())

    monkeypatch.setattr(Subject, "open_backend", open_backend)
    monkeypatch.setattr(context, "ROWS", (1,))
    options = Options(kind="context", model="scripted", pairs=1, tokens=(300, 512, 600, 2_048))
    rows = context.measure(options, subject).details["by_history_ms"]
    assert [(row["history"], row["yarn"]) for row in rows] == [(300, 1), (448, 1), (600, 4), (1_984, 4)]
    assert opened == [(512, None), (2_048, 4)]


def test_slow_steps_are_timed_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow:
        def step(self, _: int) -> float:
            return 9.0

    assert context.timed(Slow(), 64) == [9.0, 9.0]  # type: ignore[arg-type]


def test_end_to_end_on_a_slow_scripted_backend(slow_subject: Subject) -> None:
    options = Options(kind="context", model="scripted", pairs=1, tokens=(5_000,), end_to_end=True)
    measured = context.measure(options, slow_subject)
    assert 1_000 < measured.ours[0] < 5_000
    segments = measured.details["segments"]
    assert [segment["from"] for segment in segments] == [0, end_to_end.SEGMENT]
    assert segments[-1]["to"] > 5_000
    assert measured.details["peak_resident_mb"] > 10


@given(st.lists(st.tuples(st.floats(0.01, 10), st.integers(1, 9_000)), min_size=1, max_size=30))
def test_segments_cover_the_prompt_and_its_time(steps: list[tuple[float, int]]) -> None:
    times = [(sum(s for s, _ in steps[: n + 1]), sum(t for _, t in steps[: n + 1])) for n in range(len(steps))]
    found = end_to_end.segments(times)
    assert found[0]["from"] == 0
    assert found[-1]["to"] == times[-1][1]
    seconds = sum((one["to"] - one["from"]) / one["tokens_per_second"] for one in found)
    assert seconds == pytest.approx(times[-1][0])


def test_a_moment_between_two_reports_lies_on_the_line() -> None:
    assert end_to_end.moment([(1.0, 100), (3.0, 200)], 150) == 2.0
    assert end_to_end.moment([(1.0, 100), (3.0, 200)], 50) == 0.5
