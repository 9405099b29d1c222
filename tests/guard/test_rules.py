"""Every rule finds its bad examples and leaves its good ones alone; the catalogue is in order."""

import re

import pytest

from firesteel.guard import canary
from firesteel.guard.patterns import automaton
from firesteel.guard.rules.base import Example, Rule
from firesteel.guard.rules.catalogue import BY_ID, RULES
from firesteel.guard.rules.learned import LEARNED
from firesteel.guard.scan import scan
from tests.guard.snippets import LANGUAGES

CASES = [
    pytest.param(rule, each, id=f"{rule.id}-{index}-{each.language}")
    for rule in RULES
    for index, each in enumerate(rule.examples)
]


@pytest.mark.parametrize(("rule", "example"), CASES)
def test_rule_knows_its_examples(rule: Rule, example: Example) -> None:
    bad = scan(example.bad, example.language)
    assert rule.id in {each.rule for each in bad}
    assert all(each.cwe in BY_ID[each.rule].cwe for each in bad)
    assert rule.id not in {each.rule for each in scan(example.good, example.language)}


@pytest.mark.parametrize(("rule", "example"), CASES)
def test_examples_are_found_indented_too(rule: Rule, example: Example) -> None:
    shifted = "".join(f"    {line}" for line in example.bad.splitlines(keepends=True))
    assert rule.id in {each.rule for each in scan(shifted, example.language)}


@pytest.mark.parametrize(("rule", "example"), CASES)
def test_examples_are_found_in_markdown(rule: Rule, example: Example) -> None:
    text = f"Some words: os.system(x)\n```{example.language}\n{example.bad}```\nand more\n"
    assert rule.id in {each.rule for each in scan(text, None)}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_rule_is_well_formed(rule: Rule) -> None:
    assert re.fullmatch(r"FS[1-9]\d\d", rule.id)
    assert all(re.fullmatch(r"CWE-\d+", each) for each in rule.cwe)
    assert rule.examples
    assert "\n" not in rule.hint
    assert {each.language for each in rule.examples} <= set(rule.languages) or not rule.sinks


def test_ids_are_unique_and_in_every_language_something_is_known() -> None:
    assert len(BY_ID) == len(RULES) + len(LEARNED)
    assert {language for rule in RULES for language in rule.languages} == set(LANGUAGES)


@pytest.mark.parametrize("language", [*LANGUAGES, None])
def test_automaton_compiles(language: str | None) -> None:
    assert automaton(language).patterns


def test_canaries_are_found() -> None:
    canary.missed.cache_clear()
    assert canary.missed() == ()


def test_a_guard_that_finds_nothing_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    canary.missed.cache_clear()
    monkeypatch.setattr(canary, "scan", lambda text, language: [])
    assert set(canary.missed()) == {rule.id for rule in RULES}
    canary.missed.cache_clear()


def test_a_guard_that_cannot_start_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(text: str, language: str) -> None:
        raise OSError("no such library")

    canary.missed.cache_clear()
    monkeypatch.setattr(canary, "scan", broken)
    assert set(canary.missed()) == {rule.id for rule in RULES}
    canary.missed.cache_clear()
