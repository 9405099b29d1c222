"""Steering and rewinding as single examples; tests/laws/test_session_laws.py does both at every token."""

from collections import Counter
from typing import Any

import pytest

from firesteel.types import Delta, Progress, Rewind, Sampling
from tests.engine.helpers import Bench, chat

LONG = list(range(20, 250)) * 8  # 1,840 tokens: seven full blocks and a rest
SCRIPT = '{"rules": [{"mode": "hash"}]}'


def test_a_steered_answer_ends_where_a_line_ends() -> None:
    bench = Bench()
    bench.add("a", chat("write a long program"), max_tokens=500)
    bench.run_until("a", 7)
    bench.engine.steer("a", bench.work("b", "<|end|>" + chat("shorter, please"), 20))
    bench.run()
    finish = bench.finish("a")
    assert finish.reason == "steered"
    assert 7 <= finish.usage.num_output_tokens <= 7 + 24
    assert bench.text("a").rstrip(" ").endswith("\n")
    assert bench.finish("b").usage.num_output_tokens == 20


def test_a_steered_answer_ends_after_24_tokens_without_a_line_end() -> None:
    bench = Bench('{"rules": [{"say": "%s"}]}' % ("word " * 200), drafters=())
    bench.add("a", chat("talk"), max_tokens=500)
    bench.run_until("a", 7)
    bench.engine.steer("a", bench.work("b", "<|end|>" + chat("stop"), 5))
    bench.run()
    assert bench.finish("a").usage.num_output_tokens == 7 + 24


def test_a_steered_answer_ends_after_a_quarter_second_without_a_line_end() -> None:
    bench = Bench('{"rules": [{"say": "%s", "step_ms": 100}]}' % ("word " * 200), drafters=())
    bench.add("a", chat("talk"), max_tokens=500)
    bench.run_until("a", 7)
    bench.engine.steer("a", bench.work("b", "<|end|>" + chat("stop"), 5))
    bench.run()
    assert bench.finish("a").usage.num_output_tokens == 7 + 3


def test_a_character_in_pieces_is_completed_before_the_answer_ends() -> None:
    bench = Bench('{"rules": [{"say": "%s"}]}' % ("é漢🙂" * 100))
    for when in range(1, 40):
        bench.add(f"a{when}", chat("talk"), max_tokens=500)
        bench.run_until(f"a{when}", when)
        bench.engine.steer(f"a{when}", bench.work(f"b{when}", "<|end|>" + chat("x"), 3))
        bench.run()
        tokens = bench.finish(f"a{when}").tokens
        assert b"".join(map(bench.backend.tokenizer.piece, tokens)).decode() == bench.text(f"a{when}")


def test_steering_a_prompt_that_is_still_read_keeps_what_is_computed() -> None:
    bench = Bench(SCRIPT, chunk_tokens=256)
    bench.add("a", LONG, max_tokens=50)
    bench.engine.step()
    bench.engine.steer("a", bench.work("b", [30, 31], 5))
    bench.run()
    assert (bench.finish("a").reason, bench.finish("a").tokens) == ("steered", [])
    assert bench.finish("b").usage.num_cached_tokens == 256
    assert bench.finish("b").usage.num_prompt_tokens == len(LONG) + 2


def test_words_that_wait_for_the_boundary_may_be_added_to() -> None:
    bench = Bench(SCRIPT)
    bench.add("a", LONG, max_tokens=50)
    bench.run_until("a", 5)
    bench.engine.steer("a", bench.work("b", [30, 31], 5))
    bench.engine.steer("b", bench.work("c", [32], 5))
    bench.run()
    assert bench.finish("b").usage.num_prompt_tokens == 0
    said = len(bench.finish("a").tokens)
    assert bench.finish("c").usage.num_prompt_tokens == len(LONG) + said + 3


def test_a_cancelled_successor_takes_its_predecessor_with_it() -> None:
    bench = Bench(SCRIPT)
    bench.add("a", LONG, max_tokens=50)
    bench.run_until("a", 5)
    bench.engine.steer("a", bench.work("b", [30, 31], 5))
    bench.engine.cancel("b")
    assert bench.finish("a").reason == bench.finish("b").reason == "cancelled"
    bench.run()
    bench.check_rest()


def test_steering_what_has_ended_says_so() -> None:
    bench = Bench(SCRIPT)
    bench.engine.steer("gone", bench.work("b", [30], 5))
    assert bench.failure("b").code == "not_running"
    bench.add("a", LONG, max_tokens=50)
    bench.run_until("a", 2)
    bench.engine.steer("a", bench.work("c", [], 5))
    assert bench.failure("c").code == "invalid_value"
    bench.engine.steer("a", bench.work("d", [30], 5))
    bench.engine.cancel("a")
    assert bench.failure("d").code == "not_running"


def test_a_successor_that_does_not_fit_says_so_and_the_history_stays_warm() -> None:
    bench = Bench(SCRIPT, context_tokens=2_000)
    bench.add("a", LONG, max_tokens=50)
    bench.run_until("a", 5)
    bench.engine.steer("a", bench.work("b", LONG[:200], 5))
    bench.run()
    assert bench.failure("b").code == "context_length_exceeded"
    bench.check_rest()
    bench.add("c", LONG, max_tokens=1)
    bench.run()
    assert bench.finish("c").usage.num_cached_tokens == len(LONG) - 1


def test_a_rewind_within_held_text_takes_nothing_back_from_the_reader() -> None:
    """Law 5: what a stop string holds back has not left, so a reader never learns of the rewind."""
    bench = Bench('{"rules": [{"say": "alpha beta gamma delta"}]}')
    bench.add("a", chat("talk"), max_tokens=50, stop=("beta gamma omega",))
    while "beta" not in b"".join(map(bench.backend.tokenizer.piece, said(bench, "a"))).decode():
        bench.engine.step()
    released = bench.text("a")
    bench.engine.rewind("a", len(said(bench, "a")) - 1)
    assert bench.text("a") == released
    assert all(event.num_text == len(released) for event in bench.events["a"] if isinstance(event, Rewind))
    bench.run()
    assert bench.text("a") == "alpha beta gamma delta"


def said(bench: Bench, id: str) -> list[int]:
    sequence = bench.engine._sequences[id]
    return sequence.tokens[sequence.num_prompt :]


def test_usage_counts_what_stands_and_what_was_taken_back() -> None:
    bench = Bench(SCRIPT)
    bench.add("a", LONG[:40], max_tokens=20)
    bench.run_until("a", 10)
    bench.engine.rewind("a", 4)
    bench.run()
    usage = bench.finish("a").usage
    assert (usage.num_output_tokens, usage.num_rewound_tokens) == (20, 6)
    kept = 0
    for event in bench.events["a"]:
        if isinstance(event, Delta):
            kept += event.num_tokens
        elif isinstance(event, Rewind):
            kept = event.num_tokens
        else:
            assert isinstance(event, Progress) or event is bench.events["a"][-1]
    assert kept == 20


def test_rewinding_the_unknown_does_nothing() -> None:
    bench = Bench(SCRIPT)
    bench.engine.rewind("nobody", 3)
    assert not bench.events


def test_a_steer_at_the_end_of_a_line_takes_effect_there() -> None:
    bench = Bench('{"rules": [{"say": "one\\ntwo\\nthree\\n"}]}')
    bench.add("a", chat("talk"), max_tokens=50)
    while not bench.text("a").endswith("\n"):
        bench.engine.step()
    bench.engine.steer("a", bench.work("b", "<|end|>" + chat("x"), 3))
    assert (bench.finish("a").reason, bench.text("a")) == ("steered", "one\n")


def test_a_preempted_answer_is_steered_at_once() -> None:
    bench = Bench(SCRIPT, max_live=2, context_tokens=300)
    bench.add("old", LONG[:100], max_tokens=150)
    bench.add("young", LONG[50:150], max_tokens=150)
    while not bench.engine.scheduler.num_preemptions:
        bench.engine.step()
    bench.engine.steer("young", bench.work("b", [30, 31], 5))
    assert bench.finish("young").reason == "steered"
    bench.run()
    said = bench.finish("young").tokens
    twin = Bench(SCRIPT, cache_bytes=0)
    twin.add("b", [*LONG[50:150], *said, 30, 31], max_tokens=5)
    twin.run()
    assert bench.finish("b").tokens == twin.finish("b").tokens
    bench.check_rest()


def test_a_hint_counts_for_penalties() -> None:
    how = Sampling(temperature=0, frequency_penalty=2.0, presence_penalty=2.0)
    bench = Bench(SCRIPT)
    bench.add("a", LONG[:40], max_tokens=20, sampling=how)
    bench.run_until("a", 3)
    bench.engine.rewind("a", 1, (), (30, 30, 31))
    sequence = bench.engine._sequences["a"]
    assert sequence.verifier.sampler._counts == Counter(said(bench, "a"))
    assert sequence.verifier.sampler._counts[30] == 2


@pytest.mark.parametrize(("ban", "hint"), [((10**6,), ()), ((-1,), ()), ((), (10**6,)), ((), (-5,)), ((), "end")])
def test_tokens_that_the_model_does_not_have_end_that_answer_only(ban: tuple[int, ...], hint: Any) -> None:
    bench = Bench(SCRIPT)
    bench.add("a", LONG[:40], max_tokens=20)
    bench.add("b", LONG[20:60], max_tokens=20)
    bench.run_until("a", 3)
    bench.engine.rewind("a", 1, ban, tuple(bench.backend.tokenizer.end_tokens) if hint == "end" else hint)
    bench.run()
    assert "cannot say" in bench.failure("a").message
    assert bench.finish("b").usage.num_output_tokens == 20
    bench.check_rest()


def test_a_rewind_while_a_recurrent_model_reads_costs_nothing() -> None:
    bench = Bench(SCRIPT, can_trim=False, chunk_tokens=100)
    bench.add("a", LONG[:500], max_tokens=5)
    bench.engine.step()
    bench.engine.rewind("a", 0, (33,))
    bench.run()
    assert bench.engine.statistics().num_rows <= 500 + 6
