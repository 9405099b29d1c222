"""Laws 3 and 4 for sessions: whatever is forked, kept, fetched, steered, rewound or cancelled, no text changes."""

import json
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from firesteel.engine.detokenize import Detokenizer
from firesteel.types import Delta, Failure, Finish, Rewind, Sampling
from tests.engine.helpers import Bench, small_blocks

HASH = json.dumps({"rules": [{"mode": "hash"}]})
HASH_IN_FOURS = json.dumps({"rules": [{"match": "", "mode": "hash", "tokens_per_step": 4}]})
GREEDY = Sampling(temperature=0)
SAMPLED = Sampling(temperature=1.5, seed=3, top_p=0.9)
PENALISED = Sampling(temperature=0, frequency_penalty=1.9, presence_penalty=1.0)


@pytest.fixture(autouse=True, scope="module")
def blocks_of_16() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        small_blocks(patch, 16)
        yield


def random_tokens(seed: int, length: int) -> list[int]:
    chooser = random.Random(seed)
    return [chooser.randrange(20, 250) for _ in range(length)]


def reference(tokens: list[int], num_tokens: int, how: Sampling = GREEDY) -> list[int]:
    """What follows `tokens`, computed alone and from nothing: the slow twin."""
    bench = Bench(HASH, cache_bytes=0)
    bench.add("a", tokens, max_tokens=num_tokens, sampling=how)
    bench.run()
    return bench.finish("a").tokens


def visible(bench: Bench, id: str) -> str:
    """The text that a reader of the events holds in the end."""
    text = ""
    for event in bench.events[id]:
        if isinstance(event, Delta):
            text += event.text
        elif isinstance(event, Rewind):
            text = text[: event.num_text]
    return text


def decoded(bench: Bench, tokens: list[int]) -> str:
    return Detokenizer(bench.backend.tokenizer.piece).feed(tokens)


class EngineAgainstPlainRuns(RuleBasedStateMachine):
    """Random adds, cancels, steers and rewinds under pressure, beside runs that share nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.known: list[list[int]] = [random_tokens(0, 40)]  # token lists that prompts may begin with
        self.bases: dict[str, list[int]] = {}  # live id → tokens up to where the model went on by itself
        self.prompts: dict[str, list[int]] = {}
        self.steered: dict[str, tuple[str, list[int]]] = {}  # successor → predecessor, new words
        self.num_ids = 0

    @initialize(
        cells=st.integers(260, 700),
        live=st.integers(1, 4),
        cache=st.sampled_from([0, 2_000, 20_000, 1_000_000]),
        disk=st.sampled_from([0, 20_000, 1_000_000]),
        kind=st.sampled_from([(HASH, True), (HASH, False), (HASH_IN_FOURS, True)]),
    )
    def open(self, cells: int, live: int, cache: int, disk: int, kind: tuple[str, bool]) -> None:
        self.config = {
            "context_tokens": cells,
            "max_live": live,
            "cache_bytes": cache,
            "disk_bytes": disk,
            "disk_folder": str(self.folder),
            "chunk_tokens": 24,
        }
        self.script, self.can_trim = kind
        self.bench = Bench(self.script, can_trim=self.can_trim, **self.config)

    def teardown(self) -> None:
        if hasattr(self, "bench"):
            self.bench.run()
            self.check_finished()
            assert not self.bases
            self.bench.check_rest()
            self.bench.engine.close()
        shutil.rmtree(self.folder)

    def new_id(self) -> str:
        self.num_ids += 1
        return str(self.num_ids)

    def live(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(self.bases)))

    @rule(data=st.data(), shared=st.integers(0, 120), fresh=st.integers(1, 60), max_tokens=st.integers(0, 40))
    def add(self, data: st.DataObject, shared: int, fresh: int, max_tokens: int) -> None:
        begin = data.draw(st.sampled_from(self.known))[:shared]
        prompt = [*begin, *random_tokens(self.num_ids, fresh)][:200]
        id = self.new_id()
        self.bench.add(id, prompt, max_tokens)
        self.bases[id] = self.prompts[id] = prompt

    @rule(steps=st.integers(1, 12))
    def step(self, steps: int) -> None:
        for _ in range(steps):
            self.bench.engine.step()
            self.bench.settle()
            self.bench.check_accounts()
        self.check_finished()

    @precondition(lambda self: self.bases)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.bench.engine.cancel(self.live(data))
        self.check_finished()

    @precondition(lambda self: self.bases)
    @rule(data=st.data(), keep=st.integers(0, 40), hint=st.lists(st.integers(20, 250), max_size=3))
    def rewind(self, data: st.DataObject, keep: int, hint: list[int]) -> None:
        id = self.live(data)
        sequence = self.bench.engine._sequences.get(id)
        if sequence is None or sequence.work.max_tokens == 0:
            return
        kept = sequence.tokens[: sequence.num_prompt + keep]
        room = sequence.work.max_tokens - (len(kept) - sequence.num_prompt) - 1
        self.bench.engine.rewind(id, keep, (), tuple(hint))
        self.bases[id] = kept + hint[: max(0, room)]
        self.check_finished()

    @precondition(lambda self: self.bases)
    @rule(data=st.data(), words=st.lists(st.integers(20, 250), min_size=1, max_size=12))
    def steer(self, data: st.DataObject, words: list[int]) -> None:
        id, successor = self.live(data), self.new_id()
        self.bench.engine.steer(id, self.bench.work(successor, words, 30))
        self.bases[successor], self.steered[successor] = [], (id, words)
        self.check_finished()

    @rule()
    def restart(self) -> None:
        if self.bases:
            return
        self.bench.engine.close()
        self.bench = Bench(self.script, can_trim=self.can_trim, **self.config)
        self.prompts, self.steered = {}, {}

    def check_finished(self) -> None:
        for id in sorted(self.bases, key=int):
            last = self.bench.events[id][-1] if self.bench.events[id] else None
            if isinstance(last, Finish):
                self.check_answer(id, last)
            if isinstance(last, Finish | Failure):
                del self.bases[id]
                if isinstance(last, Failure):
                    has_reason = last.code in ("not_running", "context_length_exceeded")
                    assert has_reason or "is being steered" in last.message

    def check_answer(self, id: str, finish: Finish) -> None:
        """The answer is what a run from nothing says, and the reader has its text."""
        assert visible(self.bench, id) == decoded(self.bench, finish.tokens)
        if not finish.usage.num_prompt_tokens:
            return  # a successor that never began
        assert finish.usage.num_cached_tokens < finish.usage.num_prompt_tokens
        base = self.bases[id] or self.prompt_of(id)
        tokens = [*self.prompt_of(id), *finish.tokens]
        assert tokens[: len(base)] == base
        more = tokens[len(base) :]
        assert not more or more == reference(base, len(more))
        self.known.append(tokens)

    def prompt_of(self, id: str) -> list[int]:
        """The prompt of a successor is all that came before it, and the new words."""
        if id not in self.prompts:
            predecessor, words = self.steered[id]
            said = self.bench.finish(predecessor).tokens
            self.prompts[id] = [*self.prompt_of(predecessor), *said, *words]
        return self.prompts[id]

    @invariant()
    def the_accounts_are_right(self) -> None:
        if hasattr(self, "bench"):
            self.bench.settle()
            self.bench.check_accounts()


EngineAgainstPlainRuns.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestEngine = EngineAgainstPlainRuns.TestCase


RUNS = [(HASH, GREEDY), (HASH, SAMPLED), (HASH, PENALISED), (HASH_IN_FOURS, GREEDY)]
ALL_RUNS = [(*run, True) for run in RUNS] + [(*run, False) for run in RUNS[:3]]


@pytest.mark.parametrize(("script", "how", "can_trim"), ALL_RUNS)
def test_rewind_at_every_token_gives_the_same_text(script: str, how: Sampling, can_trim: bool) -> None:
    """KV, detokeniser, penalties and draws go back together: what follows a rewind is what followed before."""
    prompt = random_tokens(1, 50)
    expected = reference(prompt, 30, how)
    for when in range(24):
        for to in (0, when // 2, max(0, when - 1), when):
            bench = Bench(script, can_trim=can_trim, max_live=4, context_tokens=400)
            bench.add("a", prompt, max_tokens=30, sampling=how)
            bench.run_until("a", when)
            bench.engine.rewind("a", to)
            bench.run()
            finish = bench.finish("a")
            assert finish.tokens == expected
            assert visible(bench, "a") == decoded(bench, expected)
            assert finish.usage.num_output_tokens == 30
            assert sum(e.num_tokens for e in bench.events["a"] if isinstance(e, Delta)) >= 30
            bench.check_rest()


@pytest.mark.parametrize(("script", "how"), RUNS)
def test_what_is_banned_never_comes_and_all_else_goes_on_as_it_would(script: str, how: Sampling) -> None:
    prompt = random_tokens(2, 30)
    for to in (0, 3, 9):
        bench = Bench(script)
        bench.add("a", prompt, max_tokens=20, sampling=how)
        bench.run_until("a", 10)
        first = bench.engine._sequences["a"].tokens[len(prompt) + to]
        bench.engine.rewind("a", to, (first,))
        bench.run_until("a", to + 1)
        second = bench.engine._sequences["a"].tokens[len(prompt) + to]
        bench.engine.rewind("a", to, (second,))  # a second attempt repeats neither
        bench.run()
        tokens = bench.finish("a").tokens
        assert tokens[to] not in (first, second)
        if how is not PENALISED:
            assert tokens[to + 1 :] == reference([*prompt, *tokens[: to + 1]], 19 - to, how)
        assert bench.finish("a").usage.num_rewound_tokens >= 2


@given(st.integers(0, 20), st.lists(st.integers(20, 250), min_size=1, max_size=5), st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_hint_stands_as_if_it_had_been_said(to: int, hint: list[int], can_trim: bool) -> None:
    prompt = random_tokens(3, 30)
    bench = Bench(HASH, can_trim=can_trim)
    bench.add("a", prompt, max_tokens=40)
    bench.run_until("a", 20)
    bench.engine.rewind("a", to, (), tuple(hint))
    bench.run()
    tokens = bench.finish("a").tokens
    assert tokens[to : to + len(hint)] == hint
    assert tokens[to + len(hint) :] == reference([*prompt, *tokens[: to + len(hint)]], 40 - to - len(hint))
    assert visible(bench, "a") == decoded(bench, tokens)


@pytest.mark.parametrize(("script", "how", "can_trim"), ALL_RUNS)
def test_steer_at_every_token_computes_the_new_words_only(script: str, how: Sampling, can_trim: bool) -> None:
    prompt, words = random_tokens(4, 50), random_tokens(5, 7)
    for when in range(24):
        bench = Bench(script, can_trim=can_trim)
        bench.add("a", prompt, max_tokens=30, sampling=how)
        bench.run_until("a", when)
        num_rows = bench.engine.statistics().num_rows
        bench.engine.steer("a", bench.work("b", words, 10, sampling=how))
        bench.run()
        before, after = bench.finish("a"), bench.finish("b")
        assert before.reason == "steered" or before.usage.num_output_tokens == 30
        history = [*prompt, *before.tokens, *words]
        assert after.tokens == reference(history, 10, how)
        if when:
            assert after.usage.num_cached_tokens >= len(prompt) + len(before.tokens) - 1
            num_said = before.usage.num_output_tokens - when + after.usage.num_output_tokens
            assert bench.engine.statistics().num_rows - num_rows <= num_said + len(words) + 4
        bench.check_rest()
