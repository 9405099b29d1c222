from hypothesis import given
from hypothesis import strategies as st

from firesteel.stream.time_limit import TimeLimit
from firesteel.types import Delta


@given(st.lists(st.tuples(st.floats(0, 1), st.sampled_from(["a", "\n", "b\nc"])), min_size=1), st.floats(0, 3))
def test_an_answer_ends_once_it_has_a_line_and_its_time_is_over(steps: list[tuple[float, str]], seconds: float) -> None:
    limit, now, text, first = TimeLimit(seconds), 5.0, "", None
    for wait, part in steps:
        now += wait
        first = now if first is None else first
        text += part
        assert limit.is_over(Delta("s", part, 1), now) == ("\n" in text and now - first >= seconds)
        assert not limit.is_over(Delta("other", "x", 1), now)
