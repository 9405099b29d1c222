from firesteel.bench import share
from firesteel.bench.options import Options
from firesteel.bench.subject import Subject
from tests.bench.answers import answer


def test_computed_is_what_was_not_cached_of_both() -> None:
    pair = (answer(num_prompt_tokens=100, num_cached_tokens=3), answer(num_prompt_tokens=110, num_cached_tokens=90))
    assert share.computed(pair) == 97 + 20
    assert share.floor([pair], 20).value == 125


def test_measured_on_the_scripted_backend(subject: Subject) -> None:
    options = Options(kind="share", model="scripted", pairs=1, tokens=(600,))
    measured = share.measure(options, subject)
    assert measured.theirs == []
    (value,) = measured.ours
    assert 0 <= value - measured.ceiling.value < 30  # the template's own tokens stand between
