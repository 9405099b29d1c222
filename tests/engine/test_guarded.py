"""The guard in the engine by example: text is held, taken back, written differently, told of, blocked; defects."""

import json
from typing import Any

import pytest

from firesteel.engine.detokenize import Detokenizer
from firesteel.guard import guard as guard_module
from firesteel.guard.answer import AnswerGuard
from firesteel.types import Delta, Guarded
from firesteel.verdict import Action, GuardOrder
from tests.engine.helpers import Bench, chat

HEAD, BAD, TAIL = "def f(x):\n", "    os.system('ls ' + x)\n", "    return 1\n"
PYTHON = GuardOrder(language="python")


def bench(say: str = HEAD + BAD + TAIL, **options: Any) -> Bench:
    return Bench(json.dumps({"rules": [{"say": say}]}), **options)


def guarded(order: GuardOrder = PYTHON, say: str = HEAD + BAD + TAIL, **options: Any) -> Bench:
    made = bench(say, **options)
    made.add("a", chat("go"), max_tokens=200, guard=order)
    made.run()
    made.check_rest()
    return made


def notices(made: Bench, kind: str) -> list[Guarded]:
    return [event for event in made.events["a"] if isinstance(event, Guarded) and event.kind == kind]


def test_what_is_vulnerable_is_held_taken_back_and_written_differently() -> None:
    made = guarded()
    report = made.finish("a").usage.guard
    assert report is not None
    assert report.num_rewinds >= 1
    assert report.num_retry_tokens > 0
    assert report.seconds > 0
    assert report.findings == ()
    assert made.text("a").startswith(HEAD)
    assert "    os.system('ls ' + x)" not in made.text("a")
    assert notices(made, "rewind") == []  # nothing had left
    tokens = made.finish("a").tokens
    assert Detokenizer(made.backend.tokenizer.piece).feed(tokens) == made.text("a")
    assert made.finish("a").usage.num_output_tokens == len(tokens)


def test_a_finding_that_only_warns_is_told_where_it_stands() -> None:
    made = guarded(GuardOrder(language="python", level="warn"))
    assert made.text("a") == HEAD + BAD + TAIL
    (notice,) = notices(made, "finding")
    assert notice.finding.rule == "FS211"
    assert notice.finding.action is Action.warn
    before = made.events["a"].index(notice)
    assert TAIL.strip().split()[0] not in "".join(
        event.text for event in made.events["a"][:before] if isinstance(event, Delta)
    )
    report = made.finish("a").usage.guard
    assert report is not None
    assert [each.rule for each in report.findings] == ["FS211"]


def test_a_blocked_answer_ends_before_what_is_vulnerable() -> None:
    made = guarded(GuardOrder(language="python", actions={"FS211": Action.block}))
    assert made.finish("a").reason == "content_filter"
    assert made.text("a").rstrip() == HEAD.rstrip()
    assert [each.finding.rule for each in notices(made, "finding")] == ["FS211"]


def test_live_text_leaves_at_once_and_is_taken_back() -> None:
    made = guarded(GuardOrder(language="python", is_live=True))
    shown, was_shown = "", False
    for event in made.events["a"]:
        if isinstance(event, Delta):
            shown += event.text
        elif isinstance(event, Guarded) and event.kind == "rewind":
            was_shown = was_shown or "os.system('ls '" in shown
            shown = shown[: event.num_text]
    assert was_shown
    assert len(notices(made, "rewind")) == len(notices(made, "resume")) >= 1
    tokens = made.finish("a").tokens
    assert Detokenizer(made.backend.tokenizer.piece).feed(tokens) == shown


def test_a_hint_is_read_by_the_model_and_by_nobody_else() -> None:
    made = bench(HEAD + BAD * 12)
    made.add("a", chat("go"), max_tokens=400, guard=PYTHON)
    hinted: list[str] = []
    while made.engine.step():
        made.check_accounts()
        for sequence in made.engine.scheduler.running:
            text = b"".join(map(made.backend.tokenizer.piece, sequence.tokens)).decode(errors="replace")
            hinted += [text] if "Secure way" in text else []
    assert hinted
    finish = made.finish("a")
    assert "Secure way" not in made.text("a")
    assert "Secure way" not in Detokenizer(made.backend.tokenizer.piece).feed(finish.tokens)
    assert finish.usage.num_output_tokens == len(finish.tokens)


def test_a_model_that_insists_is_told_of_in_the_end() -> None:
    made = guarded(say=HEAD + BAD * 12)
    assert notices(made, "finding")
    report = made.finish("a").usage.guard
    assert report is not None
    assert report.findings
    assert len(report.findings) == made.text("a").count("os.system('ls ' + x)")


def test_or_ends_where_the_policy_is_to_block() -> None:
    made = guarded(GuardOrder(language="python", level="block"), say=HEAD + BAD * 12)
    assert made.finish("a").reason == "content_filter"
    report = made.finish("a").usage.guard
    assert report is not None
    assert report.findings == ()
    assert "os.system('ls '" not in made.text("a")


def test_an_answer_that_is_broken_off_does_not_release_what_is_vulnerable() -> None:
    made = bench()
    made.add("a", chat("go"), max_tokens=200, guard=PYTHON)
    sequence = made.engine._sequences["a"]
    while not Detokenizer(made.backend.tokenizer.piece).feed(sequence.tokens).endswith("+ x"):
        assert made.engine.step()
    made.engine.cancel("a")
    assert made.finish("a").reason == "cancelled"
    assert "os" not in made.text("a")
    assert Detokenizer(made.backend.tokenizer.piece).feed(made.finish("a").tokens) == made.text("a")
    made.check_rest()


def test_a_model_that_cannot_trim_begins_again_with_what_is_good() -> None:
    made = guarded(can_trim=False)
    report = made.finish("a").usage.guard
    assert report is not None
    assert report.num_rewinds >= 1
    assert "    os.system('ls ' + x)" not in made.text("a")


def test_under_a_grammar_findings_are_told_and_not_taken_back() -> None:
    grammar = json.dumps({"grammars": [{"lark_grammar": "start: /(.|\\n)*/"}]})
    made = bench()
    made.add("a", chat("go"), max_tokens=200, guard=PYTHON, constraint=grammar)
    made.run()
    assert made.text("a") == HEAD + BAD + TAIL
    assert [each.finding.rule for each in notices(made, "finding")] == ["FS211"]


def test_an_engine_without_a_guard_says_so() -> None:
    made = bench()
    made.engine._open_guard = None
    made.add("a", chat("go"), guard=PYTHON)
    assert "without a guard" in made.failure("a").message


def defect(*_: object) -> None:
    raise RuntimeError("a defect")


def test_a_guard_that_breaks_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_module.Guard, "_flow", defect)
    made = guarded()
    assert made.text("a") == HEAD + BAD + TAIL
    report = made.finish("a").usage.guard
    assert report is not None
    assert report.num_failures == 1


def test_under_a_blocking_policy_it_ends_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_module.Guard, "_flow", defect)
    made = guarded(GuardOrder(language="python", level="block"))
    assert made.failure("a").code == "guard_failure"
    assert "os" not in made.text("a")


def test_a_guard_that_cannot_begin_fails_as_openly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AnswerGuard, "__init__", defect)
    made = guarded()
    assert made.text("a") == HEAD + BAD + TAIL
    report = made.finish("a").usage.guard
    assert report is not None
    assert report.num_failures == 1
    blocked = bench()
    blocked.add("a", chat("go"), guard=GuardOrder(language="python", level="block"))
    assert blocked.failure("a").code == "guard_failure"
