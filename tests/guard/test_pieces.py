"""Fences, languages, differences, policies: the small parts."""

import pytest

from firesteel.guard import Action, Policy, languages
from firesteel.guard.files import added_lines
from firesteel.guard.lines import MAX_KEPT, Lines
from firesteel.guard.policy import suppressed
from firesteel.guard.scan import scan, tokens_of
from firesteel.guard.value import Hole, Level, Value, either, formatted, hole, joined


@pytest.mark.parametrize(
    ("name", "language"),
    [
        ("Py", "python"),
        ("C++", "cpp"),
        ("c#", "csharp"),
        ("TSX", "typescript"),
        ("cobol", "text"),
        ("", None),
        (None, None),
    ],
)
def test_languages_are_known_by_many_names(name: str | None, language: str | None) -> None:
    assert languages.named(name) == language


@pytest.mark.parametrize(
    ("path", "language"), [("a/b.PY", "python"), ("x.h", "c"), ("f.cob", "text"), ("R.md", "markdown")]
)
def test_files_say_their_language(path: str, language: str) -> None:
    assert languages.of_file(path) == language


def test_fences_switch_the_language() -> None:
    fences = languages.Fences()
    lines = ["text\n", "```py\n", "x\n", "~~~\n", "```` \n", "```\n", "> ~~~ js\n", "~~~~\n"]
    assert [fences.line(line) for line in lines] == [
        (False, None),
        (True, "python"),
        (False, None),
        (False, None),
        (True, None),
        (True, None),
        (False, None),
        (False, None),
    ]


def test_code_in_a_fence_of_another_language_is_judged_by_it() -> None:
    text = "os.system('a' + b)\n```js\nexec('a' + b);\n```\n```\nos.system('a')\n```\n~~~python\nos.system('a' + b)\n"
    assert [text[each.start : each.end] for each in scan(text, None)] == ["exec('a' + b)", "os.system('a' + b)"]


def test_a_diff_names_its_added_lines() -> None:
    diff = (
        "--- a/x.py\n+++ b/x.py\n@@ -1,2 +1,3 @@\n a\n+b\n-c\n+d\n@@ -9 +10,0 @@\n-e\n"
        "--- a/gone\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n--- /dev/null\n+++ b/new.py\t2026\n@@ -0,0 +1,2 @@\n+p\n+q\n"
    )
    assert added_lines(diff) == {"x.py": {2, 3}, "new.py": {1, 2}}


def test_the_longest_name_decides_about_a_rule() -> None:
    policy = Policy(actions={"FS2": Action.warn, "FS211": Action.block})
    assert policy.action("FS211", Action.rewrite) is Action.block
    assert policy.action("FS201", Action.rewrite) is Action.warn
    assert policy.action("FS301", Action.rewrite) is Action.rewrite
    assert Action.observe.rank < Action.warn.rank < Action.rewrite.rank < Action.block.rank


@pytest.mark.parametrize(
    ("line", "rule", "is_suppressed"),
    [
        ("x  # firesteel: ignore", "FS1", True),
        ("x // firesteel: ignore[FS2, FS3]", "FS301", True),
        ("x /* firesteel:ignore[FS2] */", "FS301", False),
        ("firesteel: ignore", "FS1", False),
    ],
)
def test_suppressions_are_comments(line: str, rule: str, is_suppressed: bool) -> None:
    assert suppressed(line, rule) is is_suppressed


def test_lines_keep_the_last_ones_only() -> None:
    lines = Lines()
    for index in range(1_000):
        lines.add(index * 100, "x" * 99 + "\n")
    begin, text = lines.since(0)
    assert len(text) <= MAX_KEPT
    assert begin + len(text) == 100_000
    assert lines.since(99_900) == (99_900, "x" * 99 + "\n")
    assert lines.around(99_950).count("\n") == 2


def test_tokens_are_all_of_the_text() -> None:
    text = "def f(a):\n\treturn  a+1  # é😀\n\n"
    assert "".join(tokens_of(text)) == text


def test_values_join_and_format() -> None:
    name = hole(Level.parameter, "name")
    assert joined([Value("a"), name, Value("b")]) == Value("a\0b", (Hole(Level.parameter, "name"),))
    assert formatted(Value("x = '%s' and y = {}"), [name, Value("1")]).skeleton == "x = '\0' and y = 1"
    assert formatted(Value("n = %d"), [name]).risky("sql") == ()
    assert formatted(Value("plain"), [name]).holes == ()
    assert either([Value("a"), name]).level is Level.parameter
    assert name.made_safe(("sql",)).risky("sql") == ()
    assert name.made_safe(("sql",)).risky("html")
    assert not Value("a").is_built
    assert joined([Value("a"), name]).is_built
