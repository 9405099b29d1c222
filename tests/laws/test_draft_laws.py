"""Law 1: with drafts and without, the same tokens; and sampled from the same distribution."""

import json
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from firesteel.types import Sampling
from tests.engine.draft.drafters import Liar, install
from tests.engine.helpers import GREEDY, Bench

HASH = json.dumps({"rules": [{"mode": "hash"}]})

sampling = st.sampled_from(
    [
        GREEDY,
        Sampling(temperature=1.5, seed=3, top_p=0.9),
        Sampling(temperature=0.0, frequency_penalty=0.7),
        Sampling(temperature=0.0, logit_bias=((65, 4.0),)),
        Sampling(temperature=0.0, num_logprobs=2),
    ]
)
prompts = st.lists(st.integers(20, 250), min_size=1, max_size=60)


def plain(prompt: list[int], max_tokens: int, how: Sampling, **work: object) -> tuple[list[int], str, list[object]]:
    """Return tokens, text and log-probabilities without drafts."""
    bench = Bench(HASH, drafters=())
    bench.add("a", prompt, max_tokens=max_tokens, sampling=how, **work)
    bench.run()
    return bench.finish("a").tokens, bench.text("a"), logprobs(bench)


def logprobs(bench: Bench) -> list[object]:
    return [(one.token, one.top) for event in bench.events["a"] for one in getattr(event, "logprobs", [])]


@settings(max_examples=150, deadline=None)
@given(prompts, st.integers(1, 90), sampling, st.integers(1, 40), st.floats(0, 1), st.integers(0, 2**32))
def test_a_drafter_that_lies_changes_no_token(
    prompt: list[int], max_tokens: int, how: Sampling, max_draft: int, lies: float, seed: int
) -> None:
    """Whatever is proposed, of any length: text, tokens and log-probabilities are those of no drafts."""
    tokens, text, known = plain(prompt, max_tokens, how)
    bench = Bench(HASH, max_draft=max_draft)
    install(bench, Liar(tokens, lies, seed))
    bench.add("a", prompt, max_tokens=max_tokens, sampling=how)
    bench.run()
    assert bench.finish("a").tokens == tokens
    assert bench.text("a") == text
    assert logprobs(bench) == known
    bench.check_rest()
    usage = bench.finish("a").usage
    assert usage.num_steps + sum(one.num_accepted for one in usage.drafts) >= len(tokens)


@settings(max_examples=60, deadline=None)
@given(prompts, st.integers(1, 120), sampling, st.integers(1, 64), st.data())
def test_the_drafters_that_ship_change_no_token(
    prompt: list[int], max_tokens: int, how: Sampling, max_draft: int, data: st.DataObject
) -> None:
    """With a prediction that is right in parts, twice over, so that past outputs are known the second time."""
    tokens, text, _ = plain(prompt, max_tokens, how)
    first, last = sorted(data.draw(st.tuples(*[st.integers(0, len(tokens))] * 2)))
    prediction = [*tokens[:first], *data.draw(st.lists(st.integers(20, 250), max_size=6)), *tokens[last:]]
    bench = Bench(HASH, max_draft=max_draft)
    for id in ("a", "b"):
        bench.add(id, prompt, max_tokens=max_tokens, sampling=how, prediction=prediction)
        bench.run()
        assert bench.finish(id).tokens == tokens
        assert bench.text(id) == text
    bench.check_rest()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(300, 500), st.integers(1, 24), st.floats(0, 1))
def test_together_with_others_in_little_room(seed: int, count: int, cells: int, max_draft: int, lies: float) -> None:
    """Laws 1 and 3 with preemption, stop strings and cancellation."""
    chooser = random.Random(seed)
    bench = Bench(HASH, max_draft=max_draft, context_tokens=cells, chunk_tokens=32, max_live=3)
    expected = {}
    for number in range(count):
        prompt = [chooser.randrange(20, 250) for _ in range(chooser.randint(1, 120))]
        stop = (chr(chooser.randrange(33, 126)),)
        whole, text, _ = plain(prompt, 60, GREEDY, stop=stop)
        expected[str(number)] = (whole, text)
        install(bench, Liar(whole, lies, seed + number))
        bench.add(str(number), prompt, max_tokens=60, stop=stop)
    victim = str(chooser.randrange(count))
    for _ in range(chooser.randint(0, 20)):
        bench.engine.step()
        bench.check_accounts()
    bench.engine.cancel(victim)
    bench.run()
    bench.check_rest()
    for id, (whole, text) in expected.items():
        finish = bench.finish(id)
        if finish.reason == "cancelled":
            assert text.startswith(bench.text(id))
        else:
            assert (finish.tokens, bench.text(id)) == (whole, text)


@settings(max_examples=60, deadline=None)
@given(prompts, st.integers(2, 60), st.integers(1, 24), st.floats(0, 1), st.data())
def test_a_rewind_takes_the_drafters_along(
    prompt: list[int], max_tokens: int, max_draft: int, lies: float, data: st.DataObject
) -> None:
    whole, _, _ = plain(prompt, max_tokens, GREEDY)
    bench = Bench(HASH, max_draft=max_draft)
    install(bench, Liar(whole, lies))
    bench.add("a", prompt, max_tokens=max_tokens)
    bench.engine.step()
    while (sequence := bench.engine._sequences.get("a")) is not None:
        if data.draw(st.booleans()):
            bench.engine.rewind("a", data.draw(st.integers(0, sequence.num_output)))
        if data.draw(st.integers(0, 3)) == 0:
            break
        bench.engine.step()
        bench.check_accounts()
    bench.run()
    assert bench.finish("a").tokens == whole


def test_what_a_stop_string_cuts_is_not_counted_as_accepted() -> None:
    tokens = Bench().encode("one two three stop four five six seven")
    bench = Bench(json.dumps({"rules": [{"say": "one two three stop four five six seven"}]}), max_draft=40)
    install(bench, Liar(tokens, lies=0.0))
    bench.add("a", [30, 31], max_tokens=60, stop=("stop",))
    bench.run()
    usage = bench.finish("a").usage
    assert bench.text("a") == "one two three "
    assert sum(one.num_accepted for one in usage.drafts) <= usage.num_output_tokens
