"""Training the sentinel: the same data, the same bytes; what belongs together is held out together."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firesteel.errors import ConfigError
from firesteel.guard import Action
from firesteel.guard.sentinel import features_of, unpacked
from firesteel.train import sentinel, softmax
from firesteel.train.card import card
from firesteel.train.samples import NUM_FOLDS, Sample, of_examples, of_ordinary, of_pairs, read_pairs, seen_in

BAD = 'def f{n}(db, name):\n    db.execute("SELECT a FROM t{n} WHERE b = \'" + name + "\'")\n'
GOOD = 'def f{n}(db, name):\n    db.execute("SELECT a FROM t{n} WHERE b = ?", (name,))\n'


def line(number: int, **fields: Any) -> str:
    bad, good = BAD.format(n=number), GOOD.format(n=number)
    spans = [[bad.index("db.execute"), len(bad)]]
    pair = {"language": "python", "cwe": "CWE-089", "vulnerable": bad, "fixed": good, "file": f"a{number}.py"}
    return json.dumps(pair | {"vulnerable_spans": spans} | fields)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    lines = [line(number) for number in range(12)] + [line(99, cwe="CWE-200"), line(98, language="cobol")]
    (folder / "pairs.jsonl").write_text("\n".join(lines))
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "fine.py").write_text(GOOD.format(n=7) * 3)
    (tmp_path / "good" / "tests").mkdir()
    (tmp_path / "good" / "tests" / "left_out.py").write_text(BAD.format(n=7))
    return folder


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(softmax, "NUM_STEPS", 12)


def test_the_same_data_give_the_same_bytes(data: Path) -> None:
    said: list[str] = []
    first, head = sentinel.train(data, data.parent / "good", "good", said.append)
    assert sentinel.train(data, data.parent / "good", "good", said.append)[0] == first
    assert unpacked(first).head == head
    assert said.count("all samples") == 2
    assert f"{head.checksum:08x}" in card(head)
    assert head.figures["pairs"] == 12
    assert head.figures["statements"]["ordinary"] == 3


def test_what_is_learnt_tells_both_sides_apart(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(softmax, "NUM_STEPS", 60)
    samples = list(of_pairs(read_pairs(data)))
    learnt = sentinel.fitted(samples)
    for each in samples:
        chances = learnt.chances(list(each.features))
        assert (max(range(len(chances)), key=chances.__getitem__) > 0) == (each.side == "vulnerable")


def test_halves_of_a_pair_and_pairs_of_a_file_share_a_fold(data: Path) -> None:
    (data / "more.jsonl").write_text("\n".join(line(number, file="same.py") for number in range(5)))
    folds: dict[str, set[int]] = {}
    for each in of_pairs(read_pairs(data)):
        folds.setdefault(each.case, set()).add(each.fold)
    assert {case for case, found in folds.items() if len(found) != 1} == set()
    assert len({fold for case, found in folds.items() if case.startswith("more") for fold in found}) == 1
    assert len({fold for found in folds.values() for fold in found}) == NUM_FOLDS


def test_statements_are_those_that_the_guard_judges() -> None:
    text = "import os\n" + GOOD.format(n=1) + BAD.format(n=2)
    seen = seen_in(text, "python")
    assert [text[each.start : each.end].strip().startswith("db.execute") for each in seen] == [True, True]
    assert [[result.rule.id for result in each.results] for each in seen] == [[], ["FS201"]]
    assert seen[0].features == tuple(
        features_of("python", "def f1(db, name):\n", text[seen[0].start : seen[0].end], ())
    )


def test_examples_teach_every_language_that_has_rules() -> None:
    samples = list(of_examples())
    assert {bool(each.label) for each in samples} == {True, False}
    assert all(each.case == "" for each in samples)
    assert len({each.group for each in samples}) > 10


def test_tests_are_no_ordinary_code(data: Path) -> None:
    assert {each.group for each in of_ordinary(data.parent / "good")} == {"fine.py"}


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, r"holds no \*\.jsonl"), ("{\n", "line 1"), ('{"language": "python"}\n', "line 1: .*`cwe`")],
)
def test_bad_data_are_refused_with_the_place(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / "x.jsonl").write_text(content)
    with pytest.raises(ConfigError, match=said):
        read_pairs(tmp_path)


def sample(side: str, *, wanted: int = 1, rewritten: bool = False, case: str = "a", found: bool = False) -> Sample:
    return Sample(
        group=case,
        case=case,
        side=side,  # type: ignore[arg-type]
        wanted=wanted,
        label=wanted if side == "vulnerable" else 0,
        features=(1,),
        found=found,
        silent=not rewritten,
        rewritten=rewritten,
        is_ordinary=not case,
    )


def chances(likely: int, chance: float) -> list[float]:
    rest = (1 - chance) / (sentinel.WIDTH - 1)
    return [chance if index == likely else rest for index in range(sentinel.WIDTH)]


def test_a_pair_counts_once_and_only_where_no_rule_found_it() -> None:
    scored = [
        (sample("vulnerable"), chances(1, 0.9)),
        (sample("vulnerable"), chances(1, 0.8)),
        (sample("vulnerable", case="b"), chances(2, 0.9)),  # another class
        (sample("vulnerable", case="c"), chances(1, 0.9)),
        (sample("vulnerable", case="c", rewritten=True, found=True), chances(1, 0.9)),  # a rule found it
        (sample("fixed", case="d"), chances(1, 0.7)),
        (sample("fixed", case="", wanted=0), chances(3, 0.7)),
    ]
    found = sentinel.found_at(scored, 0.6)
    assert found == {"at": 0.6, "right": 1, "wrong": 1, "precision": 0.5, "ordinary": 1}
    assert sentinel.found_at(scored, 0.75)["wrong"] == 0


def test_doubt_counts_right_and_wrong_rewrites() -> None:
    scored = [
        (sample("vulnerable", rewritten=True), chances(1, 0.9)),
        (sample("vulnerable", rewritten=True), chances(0, 0.99)),
        (sample("fixed", rewritten=True), chances(0, 0.99)),
        (sample("fixed", rewritten=True), chances(0, 0.5)),
        (sample("fixed"), chances(0, 0.99)),
    ]
    assert sentinel.doubted_below(scored, 0.05) == {"below": 0.05, "true": 2, "lost": 1, "false": 2, "removed": 1}


@given(right=st.integers(0, 100), precision=st.floats(0, 1))
def test_more_and_better_findings_never_earn_less(right: int, precision: float) -> None:
    def rank(right: int, precision: float) -> int:
        found = {"right": right, "precision": precision}
        earned = [action.rank for action, least, count in sentinel.LADDER if sentinel.earns(found, least, count)]
        return max(earned, default=-1)

    assert rank(right, precision) <= rank(right + 1, min(1.0, precision + 0.1))
    assert rank(29, 1.0) < Action.rewrite.rank
