"""Law 1 for constrained answers: drafts, forced tokens and rewinds change nothing, and the grammar is obeyed."""

import json
import re

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llguidance import LLMatcher

from firesteel.backend.base import Rows
from firesteel.types import Sampling
from tests.engine.draft.drafters import Liar, install
from tests.engine.helpers import GREEDY, Bench

HASH = json.dumps({"rules": [{"mode": "hash"}]})
PATTERNS = [
    r"[a-c]{2,6}(-[0-9]{2}){0,3};",
    r"(alpha|beta|gamma delta), (yes|no)\.",
    r"(self|this|that) (is|was)( not)? (alpha|beta|[a-z]{3});",
    r'\{"total_amount": [1-9][0-9]{0,3}, "currency": "(EUR|USD)"\}',
]
patterns = st.sampled_from(PATTERNS)
LETTERS = [token for letter in "acegikmoqsuwy" for token in Bench(HASH).encode(letter)]
samplings = [
    GREEDY,
    Sampling(temperature=0.0, logit_bias=tuple((token, 20.0) for token in LETTERS)),  # spells, where it may
    Sampling(temperature=1.2, seed=9),
    Sampling(temperature=0.0, num_logprobs=1),
]
sampling = st.sampled_from(samplings)
prompts = st.lists(st.integers(20, 250), min_size=1, max_size=30)


def grammar(pattern: str) -> str:
    return str(LLMatcher.grammar_from_regex(pattern))


def answer(bench: Bench, prompt: list[int], pattern: str, how: Sampling, max_tokens: int = 80) -> list[int]:
    bench.add("a", prompt, max_tokens=max_tokens, sampling=how, constraint=grammar(pattern))
    bench.run()
    bench.check_rest()
    return bench.finish("a").tokens


def said(bench: Bench) -> str:
    """Return what stands in the end, without what was taken back."""
    return "".join(bench.backend.tokenizer.label(token) for token in bench.finish("a").tokens)


@settings(max_examples=60, deadline=None)
@given(prompts, patterns, sampling, st.integers(1, 24), st.floats(0, 1), st.integers(0, 1000))
def test_drafts_change_no_constrained_token(
    prompt: list[int], pattern: str, how: Sampling, max_draft: int, lies: float, seed: int
) -> None:
    plain, drafted = Bench(HASH, drafters=()), Bench(HASH, max_draft=max_draft)
    tokens = answer(plain, prompt, pattern, how)
    assert re.fullmatch(pattern, plain.text("a"))
    assert plain.finish("a").reason == "stop"
    install(drafted, Liar(tokens, lies, seed))
    assert answer(drafted, prompt, pattern, how) == tokens
    assert drafted.text("a") == plain.text("a")


@settings(max_examples=60, deadline=None)
@given(prompts, patterns, st.integers(1, 24), st.floats(0, 1), st.data())
def test_a_rewind_takes_the_grammar_along(
    prompt: list[int], pattern: str, max_draft: int, lies: float, data: st.DataObject
) -> None:
    """Against the slow reference: an engine without drafts that was never rewound."""
    tokens = answer(Bench(HASH, drafters=()), prompt, pattern, GREEDY)
    bench = Bench(HASH, max_draft=max_draft)
    install(bench, Liar(tokens, lies))
    bench.add("a", prompt, max_tokens=80, constraint=grammar(pattern))
    for _ in range(data.draw(st.integers(0, 6))):
        bench.engine.step()
        sequence = bench.engine._sequences.get("a")
        if sequence is None:
            break
        bench.engine.rewind("a", data.draw(st.integers(0, sequence.num_output)))
        bench.check_accounts()
    bench.run()
    assert re.fullmatch(pattern, said(bench))
    assert bench.finish("a").reason == "stop"


def test_forced_tokens_cost_no_step() -> None:
    bench = Bench(HASH, drafters=())
    answer(bench, [30, 31], PATTERNS[-1], GREEDY)
    usage = bench.finish("a").usage
    assert usage.num_forced_tokens >= 8
    assert usage.num_steps + usage.num_forced_tokens <= usage.num_output_tokens + 1


def test_what_is_wholly_forced_is_said_at_once() -> None:
    bench = Bench(HASH)
    bench.add("a", [30, 31], max_tokens=80, constraint=grammar("only this can be said"))
    assert bench.text("a") == "only this can be said"
    assert bench.finish("a").reason == "stop"
    bench.run()
    bench.check_rest()


def test_forced_tokens_stop_at_the_limit() -> None:
    bench = Bench(HASH)
    bench.add("a", [30, 31], max_tokens=5, constraint=grammar("only this can be said"))
    bench.run()
    assert bench.finish("a").reason == "length"
    assert bench.finish("a").usage.num_output_tokens == 5
    assert "only this can be said".startswith(bench.text("a"))


def test_a_prompt_that_is_only_warmed_says_nothing() -> None:
    bench = Bench(HASH)
    bench.add("a", [30, 31], max_tokens=0, constraint=grammar("only this can be said"))
    bench.run()
    assert bench.finish("a").tokens == []
    assert bench.text("a") == ""


def test_a_grammar_that_does_not_compile_fails_alone() -> None:
    bench = Bench(HASH)
    bench.add("good", [30, 31], max_tokens=4)
    bench.add("bad", [30, 31], max_tokens=4, constraint=grammar("("))
    bench.run()
    assert bench.failure("bad").code == "invalid_value"
    assert bench.finish("good").usage.num_output_tokens == 4


def test_a_hint_that_the_grammar_forbids_ends_the_answer_with_an_error() -> None:
    bench = Bench(HASH, drafters=())
    bench.add("a", [30, 31], max_tokens=80, constraint=grammar("[0-9]{40}"))
    bench.run_until("a", 5)
    bench.engine.rewind("a", 2, hint=tuple(bench.encode("x")))
    assert bench.failure("a").code == "invalid_value"
    bench.check_rest()


@pytest.mark.parametrize("banned", range(48, 58))
def test_a_ban_and_a_grammar_hold_together(banned: int) -> None:
    bench = Bench(HASH, drafters=())
    bench.add("a", [30, 31], max_tokens=80, constraint=grammar("[0-9]{12}"))
    bench.run_until("a", 3)
    digit = bench.encode(chr(banned))
    bench.engine.rewind("a", 2, ban=tuple(digit))
    bench.run()
    assert re.fullmatch("[0-9]{12}", said(bench))
    assert bench.finish("a").tokens[2:3] != digit


CYCLES = [
    {"$defs": {"n": {"type": "object", "properties": {"n": {"$ref": "#/$defs/n"}}, "required": ["n"]}},
     "$ref": "#/$defs/n"},
]  # fmt: skip
AMBIGUOUS = 'start: a\na: a a a a a | a a a a | a a a | a a | "b" | "c" | "d"'
LARKS = ['start: "ab" start', 'start: ("x"|"y") a\na: "return " a', AMBIGUOUS]


@pytest.mark.parametrize("source", [*map(json.dumps, CYCLES), *LARKS], ids=range(len(CYCLES) + len(LARKS)))
def test_a_grammar_that_leads_nowhere_fails_alone(source: str) -> None:
    """However it fails, and whenever: the others go on, and nothing is left."""
    is_schema = source.startswith("{")
    rules = LLMatcher.grammar_from_json_schema(source) if is_schema else LLMatcher.grammar_from_lark(source)
    bench = Bench(HASH)
    bench.add("other", [40, 41], max_tokens=20)
    bench.add("bad", [30, 31], max_tokens=60, constraint=str(rules))
    bench.run()
    bench.check_rest()
    assert bench.finish("other").usage.num_output_tokens == 20
    assert bench.events["bad"][-1].id == "bad"


def test_many_forced_beginnings_fit_into_a_step() -> None:
    bench = Bench(HASH, chunk_tokens=64, max_live=16)
    rows: list[int] = []
    submit = bench.backend.submit

    def counted(batch: list[Rows]) -> None:
        rows.append(sum(len(one.tokens) for one in batch))
        submit(batch)

    bench.backend.submit = counted  # type: ignore[method-assign]
    bench.engine.scheduler._capabilities = msgspec.structs.replace(bench.backend.capabilities, max_rows=80)
    for number in range(16):
        pattern = r"forced beginning of twenty tokens: [a-z]{3}"
        bench.add(str(number), [30 + number, 31], max_tokens=60, constraint=grammar(pattern))
    bench.run()
    bench.check_rest()
    assert max(rows) <= 80
    for number in range(16):
        assert re.fullmatch(pattern, bench.text(str(number)))


@pytest.mark.parametrize("how", [GREEDY, Sampling(temperature=1.0, seed=2)])
def test_a_ban_of_all_that_may_follow_is_an_error_of_its_own(how: Sampling) -> None:
    bench = Bench(HASH, drafters=())
    bench.add("a", [30, 31], max_tokens=60, sampling=how, constraint=grammar("[0-9]{9}x?"))
    bench.run_until("a", 2)
    bench.engine.rewind("a", 1, ban=tuple(range(256)) + tuple(bench.backend.tokenizer.end_tokens))
    bench.run()
    assert bench.events["a"][-1].id == "a"
    bench.check_rest()
