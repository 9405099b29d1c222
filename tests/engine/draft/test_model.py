"""The drafter `model`: the same tokens in every mode, hits that cost nothing, and what happens when it fails."""

import json
import logging
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firesteel.backend.base import Rows, Want
from firesteel.backend.scripted import ScriptedTokenizer
from firesteel.engine.draft.lines import Line
from firesteel.engine.draft.model import AHEAD, AHEAD_NODES, SAMPLE, is_same_vocabulary, open_model
from firesteel.engine.draft.modes import Mode
from firesteel.errors import ConfigError
from firesteel.types import Sampling
from tests.engine.draft.model_bench import HASH, draft_threads, drafted, model_of, run_settled, says, settle
from tests.engine.helpers import GREEDY, Bench, chat

MODES: list[Mode] = ["off", "wait", "ahead"]
TEXT = "def add(one, two):\n    return one + two\n\n\ndef total(values):\n    return sum(values) + len(values)\n"
WRONG = "class Nothing:\n    pass\n"
PROMPT = chat("write it")

scripts = st.sampled_from([HASH, says(TEXT), says(TEXT.replace("sum", "max").replace("two", "four")), says(WRONG)])
moves = st.lists(st.tuples(st.none() | st.floats(0, 1), st.booleans()), max_size=12)  # how far back; wait before
sampling = st.sampled_from([GREEDY, Sampling(temperature=1.5, seed=3), Sampling(temperature=0, num_logprobs=2)])


def plain(target: dict[str, Any], prompt: str | list[int], max_tokens: int, how: Sampling = GREEDY) -> list[int]:
    """Return the tokens without drafts."""
    bench = Bench(json.dumps(target), drafters=())
    bench.add("a", prompt, max_tokens=max_tokens, sampling=how)
    bench.run()
    return bench.finish("a").tokens


@settings(max_examples=60, deadline=None)
@given(scripts, scripts, st.sampled_from(MODES), sampling, st.integers(1, 60), st.integers(1, 24), moves)
def test_a_draft_model_changes_no_token(
    target: dict[str, Any],
    draft: dict[str, Any],
    mode: Mode,
    how: Sampling,
    max_tokens: int,
    max_draft: int,
    moved: list[tuple[float | None, bool]],
) -> None:
    """Law 1, with rewinds, whatever the draft model says and however far its thread has come."""
    whole = plain(target, PROMPT, max_tokens, how)
    with drafted(target, draft, mode, max_draft=max_draft) as bench:
        bench.add("a", PROMPT, max_tokens=max_tokens, sampling=how)
        bench.engine.step()
        for back, is_settled in moved:
            if (sequence := bench.engine._sequences.get("a")) is None:
                break
            if back is not None and how.temperature == 0:
                bench.engine.rewind("a", int(back * sequence.num_output))
            if is_settled:
                settle(bench)
            bench.engine.step()
            bench.check_accounts()
        bench.run()
        assert bench.finish("a").tokens == whole
        bench.check_rest()


@settings(max_examples=15, deadline=None)
@given(
    st.sampled_from(MODES),
    st.integers(300, 600),
    st.lists(st.lists(st.integers(20, 250), min_size=1, max_size=100), min_size=1, max_size=7),
    st.integers(0, 20),
    st.integers(0, 6),
)
def test_together_with_others_in_little_room(
    mode: Mode, cells: int, prompts: list[list[int]], num_steps: int, victim: int
) -> None:
    """Laws 1 and 3 with more sequences than the draft model has slots, preemption and cancellation."""
    with drafted(HASH, HASH, mode, context_tokens=cells, chunk_tokens=32, max_live=6, max_draft=8) as bench:
        for number, prompt in enumerate(prompts):
            bench.add(str(number), prompt, max_tokens=40)
        for _ in range(num_steps):
            bench.engine.step()
            bench.check_accounts()
        bench.engine.cancel(str(victim))
        bench.run()
        bench.check_rest()
        for number, prompt in enumerate(prompts):
            tokens, whole = bench.finish(str(number)).tokens, plain(HASH, prompt, 40)
            assert tokens == (whole if number != victim else whole[: len(tokens)])


def test_a_draft_model_that_knows_the_answer_saves_steps() -> None:
    whole = plain(HASH, PROMPT, 120)
    for mode in ("wait", "ahead"):
        with drafted(HASH, HASH, mode) as bench:
            bench.add("a", PROMPT, max_tokens=120)
            run_settled(bench)
            usage = bench.finish("a").usage
            assert bench.finish("a").tokens == whole
            assert usage.num_steps < 120 / 4
            assert [one.source for one in usage.drafts] == ["model"]


def test_a_hit_costs_the_engine_no_wait() -> None:
    """Given time beside each step, everything the engine asks for is there, after the first; it never waits."""
    with drafted(HASH, HASH, "ahead") as bench:
        model = model_of(bench)
        waits: list[object] = []
        model.thread.wait = lambda *how: waits.append(how)  # type: ignore[method-assign]
        bench.add("a", PROMPT, max_tokens=200)
        run_settled(bench)
        assert waits == []
        assert model.num_misses <= 1  # the first time it is asked, it has not read the prompt
        assert model.num_hits >= 4


def test_a_rejection_is_prepared_for_as_well() -> None:
    """Another source is believed and wrong about the first token; what follows the right one is there at once."""
    prompt = [20 + number for number in range(40)]
    whole = plain(HASH, prompt, 20)
    with drafted(HASH, HASH, "ahead") as bench:
        thread = model_of(bench).thread
        line = Line(prompt, frozenset())
        assert thread.claim(line)
        thread.grow(line, AHEAD, AHEAD_NODES, [(50, 0.8), (51, 0.8), (52, 0.8)])
        settle(bench)
        assert line.outcomes.root.children[50].children[51].children[52].options
        thread.accept(line, whole[:1])
        assert [token for token, _ in thread.best(line, 4)] == whole[1:5]


def test_nothing_is_waited_for_or_computed_when_off() -> None:
    with drafted(HASH, HASH, "off") as bench:
        bench.add("a", PROMPT, max_tokens=60)
        bench.run()
        assert model_of(bench).thread.num_steps == 0
        assert bench.finish("a").usage.num_steps == 60


def test_the_next_turn_reads_only_what_is_new() -> None:
    prompt = [20 + number % 200 for number in range(600)]
    with drafted(HASH, HASH, "ahead", chunk_tokens=32) as bench:
        read = reading(bench)
        bench.add("a", prompt, max_tokens=40)
        run_settled(bench)
        assert sum(read) > 500
        read.clear()
        bench.add("b", [*prompt, *bench.finish("a").tokens, *range(30, 70)], max_tokens=40)
        run_settled(bench)
        assert sum(read) < 80


def test_a_steered_answer_shares_what_its_predecessor_has_read() -> None:
    prompt = [20 + number % 200 for number in range(600)]
    with drafted(HASH, HASH, "ahead", chunk_tokens=32) as bench:
        read = reading(bench)
        bench.add("a", prompt, max_tokens=400)
        bench.run_until("a", 20)
        settle(bench)
        read.clear()
        bench.engine.steer("a", bench.work("b", [*range(40, 90)], 80))
        run_settled(bench)
        assert bench.finish("b").reason == "length"
        assert 0 < sum(read) < 120


def reading(bench: Bench) -> list[int]:
    """Return a list that gets the rows of each step in which the draft model only reads."""
    backend, read = model_of(bench).thread._backend, list[int]()
    submit = backend.submit

    def counted(batch: list[Rows]) -> None:
        read.extend(len(rows.tokens) for rows in batch if rows.want is Want.NONE)
        submit(batch)

    backend.submit = counted  # type: ignore[method-assign]
    return read


@pytest.mark.parametrize("mode", ["wait", "ahead"])
def test_a_draft_model_that_fails_is_off_and_the_answer_goes_on(mode: Mode, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), drafted(says(TEXT), says(TEXT, fail_at=5), mode) as bench:
        bench.add("a", PROMPT, max_tokens=200)
        run_settled(bench)
        assert bench.text("a") == TEXT
        assert model_of(bench).thread.is_off
        bench.add("b", PROMPT, max_tokens=200)
        run_settled(bench)
        assert bench.text("b") == TEXT
    assert "answers go on without it" in caplog.text


def test_closing_interrupts_a_draft_model_that_stalls() -> None:
    with drafted(says(TEXT), says(TEXT, stall_at=3, stall_ms=60_000), "ahead") as bench:
        bench.add("a", PROMPT, max_tokens=200)
        bench.run()
        assert bench.text("a") == TEXT
        assert draft_threads()
    assert not draft_threads()


def test_another_vocabulary_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(ScriptedTokenizer):
        def label(self, token: int) -> str:
            return super().label(token) if token != SAMPLE else "?"

    script = tmp_path / "draft.json"
    script.write_text("{}")
    bench = Bench()
    monkeypatch.setattr(bench.backend, "tokenizer", Other())
    config = msgspec.structs.replace(bench.config, draft_model=str(script))
    with pytest.raises(ConfigError, match=r"--draft-model .*vocabulary.*same family"):
        open_model(config, bench.backend, bench.clock.now)


@pytest.mark.parametrize(
    ("size", "ends", "fits"), [(0, (), True), (-90, (), True), (-900, (), False), (0, (7,), False)]
)
def test_vocabularies_may_differ_in_padding_only(size: int, ends: tuple[int, ...], fits: bool) -> None:
    one, other = ScriptedTokenizer(), ScriptedTokenizer()
    other.vocabulary_size += size
    other.end_tokens |= set(ends)
    assert is_same_vocabulary(one, other) == is_same_vocabulary(other, one) == fits


def test_a_draft_model_that_is_not_asked_or_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--drafters"):
        Bench(draft_model="x.json", drafters=("ngram",))
    with pytest.raises(ConfigError, match=r"--draft-model .*cannot read"):
        Bench(draft_model=str(tmp_path / "x.json"))
    script = tmp_path / "draft.json"
    script.write_text("{}")
    with pytest.raises(ConfigError, match="cannot take guesses back"):
        Bench(draft_model=str(script), can_trim=False)
    assert not draft_threads()


def test_without_force_a_still_clock_leaves_it_off() -> None:
    with drafted(says(TEXT), says(WRONG), None) as bench:
        bench.add("a", PROMPT, max_tokens=200)
        bench.run()
        assert bench.text("a") == TEXT
        assert model_of(bench).mode == "off"
