"""What holds for any text: cuts change nothing, nothing leaves before its verdict, nothing raises, a rewind forgets."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firesteel.guard import Action, Finding, Guard, Hold, Policy, Release, Rewind
from tests.guard.snippets import LANGUAGES, cut, texts

ANY_LANGUAGE = st.sampled_from((*LANGUAGES, None, "markdown", "text"))


def findings(pieces: list[str], language: str | None) -> list[Finding]:
    """Return what is found, without the one field that says how the text was cut."""
    guard = Guard(language, can_rewind=False)
    for piece in pieces:
        guard.feed(piece)
    guard.finish()
    guard.close()
    assert guard.failures == 0
    return [msgspec.structs.replace(each, decided_at=0) for each in guard.findings]


@settings(max_examples=150, deadline=None)
@given(data=st.data(), language=ANY_LANGUAGE)
def test_findings_do_not_depend_on_cuts(data: st.DataObject, language: str | None) -> None:
    text = data.draw(texts(language if language in LANGUAGES else "python"))
    whole = findings([text] if text else [], language)
    assert findings(list(text), language) == whole
    assert findings(data.draw(cut(text)), language) == whole


@settings(max_examples=60, deadline=None)
@given(data=st.data(), language=ANY_LANGUAGE)
def test_all_text_leaves_in_order_when_nothing_is_taken_back(data: st.DataObject, language: str | None) -> None:
    text = data.draw(texts(language if language in LANGUAGES else "python"))
    guard = Guard(language, can_rewind=False)
    released = ""
    for piece in data.draw(cut(text)):
        verdict = guard.feed(piece)
        assert isinstance(verdict, Release | Hold)
        released += verdict.text if isinstance(verdict, Release) else ""
        assert text.startswith(released)
    last = guard.finish()
    assert isinstance(last, Release)
    assert released + last.text == text


@settings(max_examples=100, deadline=None)
@given(data=st.data(), language=st.sampled_from(LANGUAGES))
def test_what_was_released_is_never_taken_back(data: st.DataObject, language: str) -> None:
    text = data.draw(texts(language))
    guard = Guard(language, policy=Policy(max_attempts=1))
    released = ""
    for piece in data.draw(cut(text)):
        verdict = guard.feed(piece)
        if isinstance(verdict, Rewind):
            assert verdict.to >= len(released)
            guard.rewind(verdict.to)
        elif isinstance(verdict, Release):
            released += verdict.text
    guard.close()


@settings(max_examples=60, deadline=None)
@given(data=st.data(), language=ANY_LANGUAGE)
def test_a_rewind_is_as_if_what_was_taken_back_had_never_been(data: st.DataObject, language: str | None) -> None:
    pieces = data.draw(cut(data.draw(texts(language if language in LANGUAGES else "python"))))
    keep = data.draw(st.integers(0, len(pieces)))
    detour = data.draw(cut(data.draw(texts("python"))))
    guard = Guard(language, can_rewind=False)
    for piece in [*pieces[:keep], *detour]:
        guard.feed(piece)
    guard.rewind(sum(map(len, pieces[:keep])))
    for piece in pieces[keep:]:
        guard.feed(piece)
    guard.finish()
    assert [msgspec.structs.replace(each, decided_at=0) for each in guard.findings] == findings(pieces, language)


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=300), language=ANY_LANGUAGE)
def test_any_text_is_survived(text: str, language: str | None) -> None:
    findings([text] if text else [], language)


@pytest.mark.parametrize("language", [*LANGUAGES, None])
@pytest.mark.parametrize(
    "text",
    [
        "(" * 10_000,
        "f(" * 5_000 + "os.system(x)" + ")" * 5_000 + "\n",
        "[{(" * 3_000 + "\nos.system('a' + b)\n",
        "".join(map(chr, range(256))) * 40,
        "os.system('" + "a" * 20_000 + "' + b)\n",
        '"""' + "x\n" * 5_000,
        "\n" * 5_000,
        "eval(" * 300 + "x" + ")" * 300 + "\n",
    ],
    ids=["open", "nested", "mixed", "binary", "long", "unclosed", "empty", "eval"],
)
def test_hostile_text_is_survived(text: str, language: str | None) -> None:
    findings([text], language)


def test_a_line_without_end_is_followed_in_bounded_memory() -> None:
    guard = Guard("javascript", can_rewind=False)
    longest = 0
    for _ in range(2_000):
        guard.feed("exec('a' + b); " * 40)
        longest = max(longest, sum(len(piece[1]) for piece in guard._pending))
    guard.finish()
    assert longest <= 20_000
    assert guard.failures == 0
    assert guard._watch._lines._kept <= 30_000


def test_blocked_answers_end() -> None:
    guard = Guard("python", policy=Policy(actions={"FS211": Action.block}))
    verdict = guard.feed("def f(x):\n    os.system('ls ' + x)\n")
    assert isinstance(verdict, Rewind)
    assert verdict.is_final
