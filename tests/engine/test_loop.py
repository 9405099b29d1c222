import json

import pytest

from firesteel.backend.scripted import backend as scripted_backend
from firesteel.types import Delta, Progress, Sampling
from tests.engine.helpers import Bench, chat

SAY = json.dumps({"rules": [{"match": "fox", "say": "the quick 🦊 jumps"}, {"match": "", "mode": "hash"}]})


def test_a_reply_arrives_whole_and_ends_with_stop() -> None:
    bench = Bench(SAY)
    bench.add("a", chat("fox"))
    bench.run()
    assert bench.text("a") == "the quick 🦊 jumps"
    finish = bench.finish("a")
    assert finish.reason == "stop"
    deltas = [event for event in bench.events["a"] if isinstance(event, Delta)]
    assert sum(delta.num_tokens for delta in deltas) == finish.usage.num_output_tokens
    bench.check_rest()


def test_max_tokens_ends_with_length() -> None:
    bench = Bench()
    bench.add("a", chat("write"), max_tokens=7)
    bench.run()
    assert bench.finish("a").reason == "length"
    assert bench.finish("a").usage.num_output_tokens == 7


@pytest.mark.parametrize("tokens_per_step", [1, 3, 16])
def test_stop_strings_count_only_the_tokens_that_matter(tokens_per_step: int) -> None:
    script = json.dumps({"tokens_per_step": tokens_per_step, "rules": [{"say": "one two three four"}]})
    bench = Bench(script)
    bench.add("a", chat("x"), stop=("three",))
    bench.run()
    assert bench.text("a") == "one two "
    assert bench.finish("a").reason == "stop"
    single = Bench(json.dumps({"rules": [{"say": "one two three four"}]}))
    single.add("a", chat("x"), stop=("three",))
    single.run()
    assert bench.finish("a").usage.num_output_tokens == single.finish("a").usage.num_output_tokens
    bench.check_rest()


def test_held_text_leaves_when_the_answer_ends_otherwise() -> None:
    bench = Bench(json.dumps({"rules": [{"say": "abc thr"}]}))
    bench.add("a", chat("x"), stop=("three",))
    bench.run()
    assert bench.text("a") == "abc thr"


def test_cancel_waiting_running_and_unknown() -> None:
    bench = Bench(max_live=1)
    bench.add("a", chat("x"), max_tokens=1000)
    bench.add("b", chat("y"), max_tokens=1000)
    bench.engine.step()
    bench.engine.cancel("b")
    bench.engine.cancel("a")
    bench.engine.cancel("never")
    assert bench.finish("a").reason == "cancelled"
    assert bench.finish("b").reason == "cancelled"
    bench.run()
    bench.check_rest()


def test_what_can_never_fit_fails_before_any_work() -> None:
    bench = Bench(context_tokens=100)
    bench.add("a", [20] * 90, max_tokens=11)
    assert bench.failure("a").code == "context_length_exceeded"
    bench.add("b", [20] * 90, max_tokens=10)
    bench.run()
    assert bench.finish("b").reason == "length"


def test_the_same_id_twice_is_refused_and_the_first_goes_on() -> None:
    bench = Bench()
    bench.add("a", chat("x"), max_tokens=3)
    bench.add("a", chat("x"), max_tokens=3)
    assert bench.failure("a").code == "invalid_value"
    bench.run()
    assert bench.finish("a").reason == "length"


def test_a_failing_step_ends_its_sequences_and_the_engine_goes_on() -> None:
    bench = Bench(json.dumps({"rules": [{"match": "bad", "say": "abcdef", "fail_at": 1}, {"say": "fine"}]}))
    bench.add("a", chat("bad"))
    bench.run()
    assert bench.failure("a").code == "engine_failure"
    bench.add("b", chat("good"))
    bench.run()
    assert bench.text("b") == "fine"
    bench.check_rest()


def test_a_growing_conversation_computes_only_its_new_tokens() -> None:
    bench = Bench(SAY)
    first = chat("hello there, a long enough question about nothing in particular, word after word")
    bench.add("a", first, max_tokens=20)
    bench.run()
    second = bench.encode(first) + bench.engine.backend.tokenizer.encode(bench.text("a"), special=True)
    follow_up = [*second, *bench.encode("<|end|>" + chat("and?"))]
    bench.add("b", follow_up)
    bench.run()
    usage = bench.finish("b").usage
    assert usage.num_cached_tokens >= len(bench.encode(first))


def test_n_choices_compute_their_prompt_once() -> None:
    bench = Bench(chunk_tokens=16, drafters=())
    prompt = [20 + i % 50 for i in range(100)]
    for choice in range(4):
        bench.add(f"a{choice}", prompt, sampling=Sampling(temperature=1.0, seed=choice))
    bench.run()
    assert bench.finish("a0").usage.num_cached_tokens == 0
    assert all(bench.finish(f"a{i}").usage.num_cached_tokens == 99 for i in (1, 2, 3))
    assert bench.engine.statistics().num_rows < 100 + 4 * 40


def test_prompt_rows_shrink_beside_a_stream_and_never_stop_it() -> None:
    script = json.dumps({"step_ms": 10, "prefill_ms_per_row": 1})
    bench = Bench(script, max_gap_seconds=0.06)
    bench.add("stream", chat("x"), max_tokens=300)
    for _ in range(5):
        bench.engine.step()
    bench.add("prompt", [20 + i % 300 for i in range(2000)], max_tokens=5)
    gaps, last = [], bench.clock.now()
    while not bench.events["prompt"] or isinstance(bench.events["prompt"][-1], Progress):
        before = len(bench.events["stream"])
        bench.engine.step()
        assert len(bench.events["stream"]) == before + 1
        gaps.append(bench.clock.now() - last)
        last = bench.clock.now()
    assert max(gaps) <= 0.12
    assert len(gaps) < 150


def test_progress_is_reported_while_a_prompt_is_computed() -> None:
    bench = Bench(json.dumps({"prefill_ms_per_row": 2}), chunk_tokens=256)
    bench.add("a", [20 + i % 300 for i in range(1500)], max_tokens=2)
    bench.run()
    progress = [event for event in bench.events["a"] if isinstance(event, Progress)]
    assert [p.num_computed for p in progress] == [256, 512, 768, 1024, 1280]
    assert all(p.num_prompt == 1500 for p in progress)


def test_logprobs_cover_exactly_the_released_tokens() -> None:
    bench = Bench(json.dumps({"rules": [{"say": "one two 🦊 three four"}]}))
    sampling = Sampling(temperature=0, num_logprobs=2)
    bench.add("a", chat("x"), stop=("three",), sampling=sampling)
    bench.run()
    deltas = [event for event in bench.events["a"] if isinstance(event, Delta)]
    tokens = [logprob.token for delta in deltas for logprob in delta.logprobs]
    piece = bench.backend.tokenizer.piece
    assert b"".join(map(piece, tokens)).decode() == "one two 🦊 "
    assert all(len(logprob.top) == 2 for delta in deltas for logprob in delta.logprobs)
    assert all(logprob.logprob <= 0 for delta in deltas for logprob in delta.logprobs)


def test_statistics_add_up() -> None:
    bench = Bench()
    bench.add("a", [20] * 50, max_tokens=10)
    bench.run()
    statistics = bench.engine.statistics()
    assert statistics.num_prompt_tokens == 50
    assert statistics.num_output_tokens == 10
    assert statistics.num_rows == 59
    assert statistics.num_steps == 10
    bench.engine.close()


def test_a_short_prompt_does_not_wait_for_a_long_one_and_neither_starves() -> None:
    bench = Bench(chunk_tokens=64)
    bench.add("long", [20 + i % 300 for i in range(4000)], max_tokens=2)
    bench.engine.step()
    bench.add("short", [400 + i for i in range(30)], max_tokens=2)
    for _ in range(4):
        bench.engine.step()
    assert bench.finish("short").reason == "length"
    for number in range(60):
        bench.add(f"more{number}", [500 + number, *range(100, 140)], max_tokens=2)
    for _ in range(4000 // 32):
        bench.engine.step()
    assert bench.events["long"]
    bench.run()
    assert bench.finish("long").usage.num_prompt_tokens == 4000


def test_what_is_admitted_together_fits_together() -> None:
    bench = Bench(context_tokens=1000, chunk_tokens=64)
    for number in range(6):
        bench.add(str(number), [20 + number, *range(100, 499)], max_tokens=100)
    bench.run()
    assert all(bench.finish(str(number)).usage.num_output_tokens == 100 for number in range(6))
    assert bench.engine.statistics().num_preemptions == 0


def test_a_prompt_that_holds_a_running_answer_does_not_wait_for_it() -> None:
    bench = Bench(chunk_tokens=64)
    prompt = bench.encode(chat("write a long text, please, and take your time with it"))
    bench.add("first", prompt, max_tokens=300)
    bench.run()
    answer = bench.encode(bench.text("first"))
    bench.engine.warm.close()
    bench.add("again", prompt, max_tokens=300)
    for _ in range(3):
        bench.engine.step()
    bench.add("next", [*prompt, *answer, *bench.encode("<|end|>" + chat("more"))], max_tokens=2)
    for _ in range(20):
        bench.engine.step()
    assert bench.finish("next").reason == "length"


def test_invalid_numbers_end_their_sequence_only() -> None:
    bench = Bench()
    bench.add("bad", chat("x"), sampling=Sampling(temperature=1.0), max_tokens=20)
    bench.add("good", chat("y"), max_tokens=20)
    bench.engine.step()
    bench.backend._noise[:] = float("nan")
    try:
        bench.backend._raised_noise[:] = float("nan")
        bench.engine.step()
    finally:
        scripted_backend._noise.cache_clear()
    bench.run()
    assert "invalid numbers" in bench.failure("bad").message
    assert bench.finish("good").reason == "length"
    bench.check_rest()
