"""The watcher fed token by token, as an engine does: what is held, from where, and what is taken back."""

import pytest

from firesteel.guard import Action, Guard, Hold, Policy, Release, Rewind, Severity, Verdict
from firesteel.guard import watch as watch_module
from firesteel.guard.scan import tokens_of


def feed(guard: Guard, text: str) -> list[tuple[str, Verdict]]:
    """Feed `text` token by token; stop at a rewind."""
    seen: list[tuple[str, Verdict]] = []
    for token in tokens_of(text):
        seen.append((token, guard.feed(token)))
        if isinstance(seen[-1][1], Rewind):
            break
    return seen


def released(verdicts: list[tuple[str, Verdict]]) -> str:
    return "".join(verdict.text for _, verdict in verdicts if isinstance(verdict, Release))


def test_ordinary_code_flows_without_delay() -> None:
    guard = Guard("python")
    for token, verdict in feed(guard, "def add(a, b):\n    total = a + b\n    return {'total': total}\n"):
        assert verdict == Release(token)


def test_text_is_held_from_the_root_of_a_sink_on() -> None:
    guard = Guard("python")
    seen = feed(guard, "def f(x):\n    os.system('ls ' + x)\n")
    assert released(seen) == "def f(x):\n"
    rewind = seen[-1][1]
    assert isinstance(rewind, Rewind)
    assert [each.rule for each in rewind.findings] == ["FS211"]
    assert rewind.findings[0].severity is Severity.critical


def test_a_harmless_root_is_released_with_the_next_token() -> None:
    guard = Guard("python")
    seen = feed(guard, "path = os.getcwd() + name\n")
    kinds = [type(verdict) for _, verdict in seen]
    assert Hold in kinds
    assert released(seen) == "path = os.getcwd() + name\n"
    assert released(seen[:-2]).endswith("+")  # long before the statement ends


def test_the_cause_is_held_until_its_own_statement_closes() -> None:
    guard = Guard("python")
    text = "def f(db, name):\n    sql = \"SELECT * FROM t WHERE n = '%s'\" % name\n    db.execute(sql)\n"
    seen = feed(guard, text)
    rewind = seen[-1][1]
    assert isinstance(rewind, Rewind)
    assert text[rewind.to :].lstrip().startswith("sql =")
    assert "sql" not in released(seen)
    assert "".join(token for token, _ in seen).endswith("name\n")  # at the end of the cause, not of the sink


def test_a_cause_that_is_out_is_said_to_be() -> None:
    guard = Guard("python")
    text = "def f(host):\n    line = 'ping ' + host\n    os.system(line)\n"
    rewind = feed(guard, text)[-1][1]
    assert isinstance(rewind, Rewind)
    assert rewind.is_cause_out
    assert text[rewind.to :].startswith("os.system") or text[rewind.to :].lstrip().startswith("os.system")
    assert rewind.findings[0].cause == text.index("line =")


def test_live_mode_releases_at_once_and_rewinds_to_the_cause() -> None:
    guard = Guard("python", is_live=True)
    text = "def f(host):\n    line = 'ping ' + host\n    os.system(line)\n"
    seen = feed(guard, text)
    rewind = seen[-1][1]
    assert isinstance(rewind, Rewind)
    assert all(isinstance(verdict, Release) for _, verdict in seen[:-1])
    assert not rewind.is_cause_out
    assert text[: rewind.to].count("\n") == 1  # only the head of the function stays


def test_the_answer_goes_on_after_a_rewind() -> None:
    guard = Guard("python")
    seen = feed(guard, "def f(x):\n    os.system('ls ' + x)\n")
    rewind = seen[-1][1]
    assert isinstance(rewind, Rewind)
    assert "list of arguments" in rewind.hint
    guard.rewind(rewind.to)
    again = feed(guard, "    subprocess.run(['ls', x], check=True)\n")
    last = guard.finish()
    assert isinstance(last, Release)
    assert (released(seen) + released(again) + last.text).split("\n")[
        1
    ].strip() == "subprocess.run(['ls', x], check=True)"
    assert guard.findings == []
    assert guard.num_rewinds == 1


def test_a_finding_that_comes_back_is_let_through_after_the_last_attempt() -> None:
    guard = Guard("python", policy=Policy(max_attempts=2))
    head, bad = "def f(x):\n", "    os.system('ls ' + x)\n"
    seen = feed(guard, head + bad)
    for _ in range(2):
        rewind = seen[-1][1]
        assert isinstance(rewind, Rewind)
        guard.rewind(rewind.to)
        seen = feed(guard, bad)
    assert isinstance(seen[-1][1], Release)
    assert [each.rule for each in seen[-1][1].findings] == ["FS211"]


def test_or_the_answer_ends_when_the_policy_says_so() -> None:
    guard = Guard("python", policy=Policy(max_attempts=0, gives_up=Action.block))
    rewind = feed(guard, "def f(x):\n    os.system('ls ' + x)\n")[-1][1]
    assert isinstance(rewind, Rewind)
    assert rewind.is_final


def test_actions_are_the_policys() -> None:
    guard = Guard("python", policy=Policy(actions={"FS2": Action.observe}))
    seen = feed(guard, "def f(x):\n    os.system('ls ' + x)\n")
    last = seen[-1][1]
    assert isinstance(last, Release)
    assert [(each.rule, each.action) for each in last.findings] == [("FS211", Action.observe)]


def test_what_needs_the_whole_function_is_told_at_its_end() -> None:
    guard = Guard("java")
    body = "class A { void f(InputStream s) {\n  DocumentBuilderFactory d = DocumentBuilderFactory.newInstance();\n"
    seen = feed(guard, body)
    assert released(seen) == body
    seen = feed(guard, "  d.newDocumentBuilder().parse(s);\n} }\n")
    assert [each.rule for each in guard.findings] == ["FS311"]
    assert isinstance(seen[-1][1], Release)


def test_the_end_of_the_answer_ends_its_statement() -> None:
    guard = Guard("python")
    feed(guard, "def f(x):\n    os.system('ls ' + x)")
    rewind = guard.finish()
    assert isinstance(rewind, Rewind)
    assert [each.rule for each in rewind.findings] == ["FS211"]


def test_a_callback_is_judged_when_it_begins() -> None:
    guard = Guard("javascript", can_rewind=False)
    text = "function f(file) {\n  exec('convert ' + file, function (error) {\n"
    feed(guard, text)
    assert [each.rule for each in guard.findings] == ["FS211"]
    assert guard.findings[0].decided_at == len(text)


def test_tokens_of_one_step_may_come_together() -> None:
    guard = Guard("python")
    verdict = guard.feed("def f(x):\n    os.system('ls ' + x)\n")
    assert isinstance(verdict, Rewind)
    assert verdict.to == 0
    guard.rewind(5)  # inside the piece
    assert released(feed(guard, "(x):\n    return x\n")) == "def f(x):\n    return x\n"


def test_attempts_at_the_same_place_are_counted_although_it_moves() -> None:
    guard = Guard("python")
    seen, attempts = feed(guard, "def f(x):\n    os.system('ls ' + x)\n"), []
    for line in range(3):
        rewind = seen[-1][1]
        assert isinstance(rewind, Rewind)
        attempts.append(rewind.attempt)
        guard.rewind(rewind.to)
        seen = feed(guard, f"    n = {line}\n    os.system('ls ' + x)\n")
    assert attempts == [1, 2, 3]
    assert isinstance(seen[-1][1], Release)


def test_what_stands_before_the_text_is_known_and_not_told_of() -> None:
    guard = Guard("python")
    context = "def f(host):\n    os.system(host)\n    line = 'ping ' + host\n"
    guard.begin_after(context)
    assert guard.findings == []
    rewind = feed(guard, "    os.system(line)\n")[-1][1]
    assert isinstance(rewind, Rewind)
    assert rewind.is_cause_out
    assert rewind.to == len(context)


def test_where_nothing_may_be_written_again_a_rewind_only_ends_the_answer() -> None:
    text = "def f(x):\n    os.system('ls ' + x)\n"
    told = feed(Guard("python", may_retry=False), text)[-1][1]
    assert isinstance(told, Release)
    assert [each.rule for each in told.findings] == ["FS211"]
    ended = feed(Guard("python", may_retry=False, policy=Policy(actions={"FS2": Action.block})), text)[-1][1]
    assert isinstance(ended, Rewind)
    assert ended.is_final


def test_comments_do_not_switch_the_guard_off() -> None:
    text = "def f(x):\n    os.system('ls ' + x)  # firesteel: ignore[FS211]\n"
    assert isinstance(feed(Guard("python"), text)[-1][1], Rewind)


def test_a_defect_is_counted_and_does_not_end_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(watch_module.Watch, "judge", staticmethod(broken))
    guard = Guard("python")
    seen = feed(guard, "def f(x):\n    os.system('ls ' + x)\n")
    assert released(seen).endswith("+ x)\n")
    assert guard.failures == 1
