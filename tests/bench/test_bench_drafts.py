import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from firesteel.bench import client, drafts, servers, sides, speculation, suite
from firesteel.bench.client import Answer, Json
from firesteel.bench.drafts import Costs
from firesteel.bench.options import Kind, Options
from firesteel.bench.roofline import Ceiling
from firesteel.bench.servers import Server
from firesteel.bench.sides import Side
from firesteel.bench.speculation import Run
from firesteel.bench.subject import Subject
from firesteel.bench.suite import Task
from tests.bench.answers import answer

ROOF = Ceiling(50.0, "bandwidth")


def said(drafts: Sequence[tuple[str, int, int, int]], *, steps: int, forced: int = 0) -> Json:
    names = ("source", "steps", "drafted_tokens", "accepted_tokens")
    listed = [dict(zip(names, draft, strict=True)) for draft in drafts]
    return {"firesteel": {"speculation": {"steps": steps, "forced_tokens": forced, "drafts": listed}}}


def run(side: str, pair: int, name: str, seconds: float, **changes: Any) -> Run:
    """Return a run of 11 tokens, the first of which would have come after 0.5 s."""
    task = Task(name=name, group=changes.pop("group", name), messages=[], max_tokens=11)
    given = {"num_tokens": 11, "last": 0.5 + seconds} | changes
    return Run(side=side, pair=pair, task=task, single=answer(first=0.5), answer=answer(**given), num_tokens=11)


@pytest.fixture
def runs() -> list[Run]:
    """Two pairs of two tasks; ours has drafts, the peer with n-grams is its best."""
    seconds = {"ours": (1.0, 2.0), "plain": (2.0, 2.0), "peer": (4.0, 4.0), "ngram_mod": (1.0, 4.0)}
    final = said([("prediction", 2, 12, 8), ("ngram", 1, 4, 0)], steps=5, forced=1)
    return [
        run(side, pair, name, times[index], final=final if side == "ours" else {})
        for pair in (1, 2)
        for index, name in enumerate(("short", "long"))
        for side, times in seconds.items()
    ]


def test_speed_is_the_tokens_after_the_first_by_the_time_after_it_alone() -> None:
    one = run("ours", 1, "t", 2.0, first=1.4)  # its first event was late: several tokens came with it
    assert one.seconds == 2.0
    assert speculation.rate([one]) == 5.0
    assert speculation.rate([one, run("ours", 1, "u", 8.0)]) == 2.0


def test_an_answer_that_comes_at_once_has_a_finite_speed() -> None:
    assert 0 < speculation.rate([run("ours", 1, "t", -1.0)]) < float("inf")
    assert run("ours", 1, "t", -0.1, first=0.15).seconds == pytest.approx(0.25)  # the single token was slower


def test_ratios_are_those_of_the_pairs(runs: list[Run]) -> None:
    assert speculation.rates(runs, "ours") == [20 / 3, 20 / 3]
    assert speculation.ratios(runs, "ours", "plain") == pytest.approx([4 / 3, 4 / 3])
    slow = [*runs, *(run(side, 3, "short", 50.0) for side in speculation.sides_of(runs))]
    assert speculation.ratios(slow, "ours", "plain") == pytest.approx([4 / 3, 4 / 3, 1.0])


def test_best_peer_is_the_setting_that_is_fastest_over_the_suite(runs: list[Run]) -> None:
    assert speculation.best_peer(runs) == "ngram_mod"
    assert speculation.best_peer([one for one in runs if one.side in ("ours", "plain")]) is None


def test_without_a_word_about_speculation_each_token_was_a_step() -> None:
    assert speculation.speculation_of(answer(num_tokens=7)).steps == 7
    assert speculation.tokens_a_step([run("ours", 1, "t", 1.0)]) == 1.0


def test_figures_of_drafts(runs: list[Run]) -> None:
    assert speculation.totals(runs) == {
        "tokens_a_step": 11 / 5,
        "steps_with_a_draft": 3 / 5,
        "forced_tokens": 1 / 11,
    }
    assert speculation.source_rows(runs) == [
        {"source": "prediction", "steps": 8, "drafted": 48, "accepted": 32, "accepted_a_step": 4.0},
        {"source": "ngram", "steps": 4, "drafted": 16, "accepted": 0, "accepted_a_step": 0.0},
    ]


def test_what_the_peer_drafted_is_what_its_timings_say() -> None:
    timings = {"timings": {"draft_n": 69, "draft_n_accepted": 40}}
    assert speculation.drafted_tokens([answer(final=timings), answer(final={"timings": {}})]) == (69, 40)


def test_measurement_holds_the_best_peer_the_roofline_and_the_tables(runs: list[Run]) -> None:
    costs = [Costs(0.001, {"8": 0.08}), Costs(0.001, {"16": 0.2, "8": 0.09})]
    measured = drafts.summary("edits", runs, costs, ROOF)
    assert measured.ours == [20 / 3, 20 / 3]
    assert measured.theirs == [4.0, 4.0]
    assert measured.ceiling.value == pytest.approx(50.0 * 11 / 5)
    found = measured.details
    assert found["best_peer"] == "ngram_mod"
    assert found["ratio_to_plain_median"] == pytest.approx(4 / 3)
    assert found["ratio_to_plain_by_task"] == {"worst": 1.0, "mean": 1.5}
    assert found["ratio_to_best_peer_by_task"] == {"worst": 1.0, "mean": 1.5}
    assert found["draft_microseconds_a_step"] == pytest.approx(0.002 / 20 * 1e6)
    assert list(found["step_ms_by_rows"].items()) == [("8", 90.0), ("16", 200.0)]
    assert [row["server"] for row in found["by_server"]] == ["ours", "plain", "peer", "ngram_mod"]
    assert [(row["task"], row["ours"], row["by_plain"]) for row in found["by_task"]] == [
        ("short", 10.0, 2.0),
        ("long", 5.0, 1.0),
    ]
    assert "by_group" not in found  # each task is a group of its own


def test_columns_do_not_depend_on_who_was_asked_first(runs: list[Run]) -> None:
    forward, backward = (speculation.rows_by(some, "task", lambda task: task.name) for some in (runs, runs[::-1]))
    assert [list(row) for row in forward] == [list(row) for row in backward]


def test_tasks_of_one_group_have_a_row_together() -> None:
    some = [run(side, 1, name, 1.0, group="record") for side in ("ours", "plain", "free") for name in ("a", "b")]
    found = drafts.details("json", some, [Costs()])
    assert [row["group"] for row in found["by_group"]] == ["record"]


def test_different_words_are_counted() -> None:
    some = [run("ours", 1, "t", 1.0), run("plain", 1, "t", 1.0, text="y"), run("peer", 1, "t", 1.0)]
    assert [speculation.num_same(some, side) for side in ("plain", "peer")] == [0, 1]
    (row,) = speculation.rows_by(some, "task", lambda task: task.name)
    assert row["same"] is False


@pytest.mark.parametrize(("text", "valid"), [('{"a": 1}', True), ('{"a": ', False), ("", False)])
def test_an_answer_that_was_cut_is_no_json(text: str, valid: bool) -> None:
    assert speculation.is_json(text) is valid


class Asked:
    """Stands for the servers: takes note of what is asked of whom."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.bodies: list[tuple[str, Json]] = []
        self.started: list[tuple[str, Any]] = []
        patch.setattr(sides, "ours", self._ours)
        patch.setattr(sides, "theirs", self._theirs)
        patch.setattr(client, "ask", self._ask)
        patch.setattr(drafts, "draft_seconds", lambda side: 0.0)
        patch.setattr(Server, "verify_seconds", lambda self: {})

    @contextmanager
    def _ours(self, subject: Subject, arguments: Sequence[str] = (), *, name: str = "ours") -> Iterator[Side]:
        self.started.append((name, list(arguments)))
        yield Side(name, "m", Server(speculation.SIDES.index(name), None))  # type: ignore[arg-type]

    @contextmanager
    def _theirs(self, subject: Subject, settings: Json | None = None, *, name: str = "peer") -> Iterator[Side]:
        self.started.append((name, settings))
        yield Side(name, "m", Server(speculation.SIDES.index(name), None))  # type: ignore[arg-type]

    def _ask(self, port: int, path: str, body: Json) -> Answer:
        self.bodies.append((speculation.SIDES[port], body))
        return answer(first=0.1 if body["max_tokens"] == 1 else 0.2)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(monkeypatch)


def options(kind: Kind, **changes: Any) -> Options:
    return Options(**({"kind": kind, "model": "scripted", "pairs": 2, "with_peer": True} | changes))


def test_all_sides_have_the_same_memory_and_only_drafts_differ(asked: Asked) -> None:
    drafts.measure(options("edits", pairs=1), Subject(None))
    ngrams = [f"COMMON_SPECULATIVE_TYPE_NGRAM_{name}" for name in ("MOD", "SIMPLE")]
    assert asked.started == [
        ("ours", ["--context", "8192"]),
        ("plain", ["--context", "8192", "--drafters", "none"]),
        ("peer", {"n_ctx": 8192}),
        ("ngram_mod", {"n_ctx": 8192, "speculative.types": ngrams[:1]}),
        ("ngram_simple", {"n_ctx": 8192, "speculative.types": ngrams[1:]}),
    ]


def test_servers_forget_between_the_pairs_and_take_turns_within(asked: Asked) -> None:
    drafts.measure(options("edits", with_peer=False), Subject(None))
    assert [name for name, _ in asked.started] == ["ours", "plain"] * 2
    whole = [side for side, body in asked.bodies if body["max_tokens"] == 320]
    assert whole == ["ours", "plain", "plain", "ours"] * 3 + ["plain", "ours", "ours", "plain"] * 3
    warm_ups = Counter(side for side, body in asked.bodies if body["max_tokens"] == suite.WARM_UP.max_tokens)
    assert warm_ups == {"ours": 2, "plain": 2}


def test_each_task_follows_two_single_tokens_of_its_prompt(asked: Asked) -> None:
    drafts.measure(options("json", pairs=1, with_peer=False), Subject(None))
    of_ours = [body for side, body in asked.bodies if side == "ours"][1:]
    for first, second, whole in zip(of_ours[::3], of_ours[1::3], of_ours[2::3], strict=True):
        assert first == second
        assert (first["max_tokens"], whole["max_tokens"]) == (1, 160)
        assert first["messages"] == whole["messages"]
        assert "response_format" in whole


def test_only_our_servers_are_told_the_prediction(asked: Asked) -> None:
    drafts.measure(options("edits", pairs=1), Subject(None))
    assert {side for side, body in asked.bodies if "prediction" in body} == {"ours", "plain"}


def test_json_is_asked_of_the_peer_with_its_own_grammar(asked: Asked) -> None:
    drafts.measure(options("json", pairs=1), Subject(None))
    assert {side for side, body in asked.bodies if "response_format" in body} == {"ours", "plain", "peer"}


def test_json_is_asked_once_more_without_a_schema_of_the_server_that_drafts_nothing(asked: Asked) -> None:
    measured = drafts.measure(options("json", pairs=1, with_peer=False), Subject(None))
    assert [row["server"] for row in measured.details["by_server"]] == ["ours", "plain", "free"]
    of_plain = [body for side, body in asked.bodies if side == "plain" and body["max_tokens"] == 160]
    assert len(of_plain) == 24
    assert sum("response_format" in body for body in of_plain) == 12


@pytest.mark.parametrize("kind", ["edits", "fresh", "agent", "json"])
def test_measured_on_the_scripted_backend(subject: Subject, kind: Kind) -> None:
    chosen = options(kind, pairs=1, tokens=(12,), with_peer=False)
    measured = drafts.measure(chosen, subject)
    found = measured.details
    assert len(measured.ours) == 1
    assert measured.theirs == []
    assert found["tokens_a_step"] >= 1
    assert [row["server"] for row in found["by_server"]][:2] == ["ours", "plain"]
    assert all(row["same"] for row in found["by_task"])


def test_predictions_are_drafted_and_change_no_text(subject: Subject, tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    text = suite.tasks("edits")[0].prediction
    script.write_text(json.dumps({"step_ms": 5, "rules": [{"match": "test_routing", "say": text}]}))
    slow = Subject(None, script=str(script))
    task = suite.tasks("edits", 96)[0]
    with sides.ours(slow) as ours, sides.ours(slow, ["--drafters", "none"], name="plain") as plain:
        runs = [drafts.ask(side, task, 1, slow) for side in (ours, plain)]
    assert speculation.num_same(runs, "plain") == 1
    assert speculation.tokens_a_step(runs) > 2
    assert any(row["source"] == "prediction" for row in speculation.source_rows(runs))


def test_costs_of_steps_are_read_from_the_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    text = '# TYPE firesteel_verify_seconds gauge\nfiresteel_verify_seconds{rows="8"} 0.05\n'
    monkeypatch.setattr(servers, "get", lambda port, path: (200, text))
    server = Server(1, None)  # type: ignore[arg-type]
    assert server.verify_seconds() == {"8": 0.05}
    assert server.engine() == {}
