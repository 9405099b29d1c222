"""The laws of DESIGN.md that the engine answers for, as properties on the scripted backend."""

import json
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from firesteel.types import Finish, Sampling
from tests.engine.helpers import Bench

HASH = json.dumps({"rules": [{"mode": "hash"}]})

prompts = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 120), st.integers(1, 40)), min_size=1, max_size=8)
sampling = st.sampled_from([Sampling(temperature=0), Sampling(temperature=1.5, seed=3, top_p=0.9)])


def tokens_of(family: int, length: int) -> list[int]:
    """Prompts of one family share prefixes; those of different families share none."""
    chooser = random.Random(family)
    return [chooser.randrange(20, 250) for _ in range(length)]


def alone(family: int, length: int, max_tokens: int, how: Sampling) -> str:
    bench = Bench(HASH, cache_bytes=0)
    bench.add("a", tokens_of(family, length), max_tokens=max_tokens, sampling=how)
    bench.run()
    return bench.text("a")


@settings(max_examples=60, deadline=None)
@given(prompts, sampling, st.integers(1, 5), st.integers(8, 64), st.integers(170, 400))
def test_batching_chunking_caching_and_preemption_change_no_text(
    work: list[tuple[int, int, int]], how: Sampling, max_live: int, chunk: int, cells: int
) -> None:
    """Laws 3 and 4: together, in any chunks, preempted or cached, each answer is what it is alone."""
    bench = Bench(HASH, max_live=max_live, chunk_tokens=chunk, context_tokens=cells)
    for index, (family, length, max_tokens) in enumerate(work):
        bench.add(str(index), tokens_of(family, length), max_tokens=max_tokens, sampling=how)
    bench.run()
    bench.check_rest()
    for index, (family, length, max_tokens) in enumerate(work):
        assert bench.text(str(index)) == alone(family, length, max_tokens, how)


@settings(max_examples=60, deadline=None)
@given(prompts, st.integers(0, 2**32), st.integers(170, 400), st.integers(1, 6))
def test_random_cancels_leave_every_cell_accounted_for(
    work: list[tuple[int, int, int]], seed: int, cells: int, tokens_per_step: int
) -> None:
    """Law 3: after finished, cancelled and failed runs, free + leased KV = all KV, and the rest is right."""
    rules = [{"match": "", "mode": "hash", "tokens_per_step": tokens_per_step}]
    bench = Bench(json.dumps({"rules": rules}), context_tokens=cells, chunk_tokens=32)
    chooser = random.Random(seed)
    cancelled = set()
    for index, (family, length, max_tokens) in enumerate(work):
        bench.add(str(index), tokens_of(family, length), max_tokens=max_tokens)
    while bench.engine.step():
        bench.check_accounts()
        if chooser.random() < 0.2:
            victim = str(chooser.randrange(len(work)))
            if not bench.events[victim] or not isinstance(bench.events[victim][-1], Finish):
                cancelled.add(victim)
            bench.engine.cancel(victim)
    bench.check_rest()
    for index, (family, length, max_tokens) in enumerate(work):
        whole = alone(family, length, max_tokens, Sampling(temperature=0))
        if str(index) in cancelled:
            assert whole.startswith(bench.text(str(index)))
        else:
            assert bench.text(str(index)) == whole


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 100), st.integers(1, 60), st.integers(2, 32))
def test_steps_of_many_tokens_equal_steps_of_one(length: int, max_tokens: int, tokens_per_step: int) -> None:
    """Law 1, as far as it applies before drafting: tokens accepted together are the tokens chosen singly."""
    rules = [{"mode": "hash", "tokens_per_step": tokens_per_step}]
    bench = Bench(json.dumps({"rules": rules}), context_tokens=length + max_tokens)
    bench.add("a", tokens_of(0, length), max_tokens=max_tokens)
    bench.run()
    assert bench.text("a") == alone(0, length, max_tokens, Sampling(temperature=0))
    assert bench.finish("a").usage.num_output_tokens == max_tokens or bench.finish("a").reason == "stop"
    bench.check_rest()
