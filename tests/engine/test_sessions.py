"""Prefixes that are reused, kept, fetched and scoped; steering and rewinding as single examples."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from firesteel.types import Delta, Progress, Rewind
from tests.engine.helpers import Bench, chat

LONG = list(range(20, 250)) * 8  # 1,840 tokens: seven full blocks and a rest
SCRIPT = '{"rules": [{"mode": "hash"}]}'


def disk(folder: Path, **config: Any) -> dict[str, Any]:
    return {"disk_bytes": 10_000_000, "disk_folder": str(folder), **config}


def test_two_live_conversations_compute_their_common_prefix_once() -> None:
    bench = Bench(SCRIPT, chunk_tokens=128, max_live=4)
    bench.add("a", [*LONG, 30], max_tokens=50)
    bench.add("b", [*LONG, 31], max_tokens=50)
    bench.run()
    assert bench.finish("b").usage.num_cached_tokens == len(LONG)
    assert bench.engine.statistics().num_rows <= len(LONG) + 2 + 100
    assert bench.finish("a").tokens != bench.finish("b").tokens


def test_shared_cells_count_once_so_that_more_fits() -> None:
    bench = Bench(SCRIPT, chunk_tokens=512, max_live=4, context_tokens=len(LONG) + 500)
    for id in "abcd":
        bench.add(id, [*LONG, 30 + ord(id)], max_tokens=60)
    for _ in range(10):
        bench.engine.step()
    assert len(bench.engine.scheduler.running) == 4
    bench.run()
    assert bench.engine.scheduler.num_preemptions == 0


def test_a_fork_takes_what_is_live_and_the_rest_from_memory() -> None:
    bench = Bench(SCRIPT, chunk_tokens=256, max_live=4)
    bench.add("whole", LONG, max_tokens=1)
    bench.run()
    bench.add("begin", [*LONG[:600], 33], max_tokens=100)
    bench.run_until("begin", 5)
    bench.add("again", [*LONG, 40], max_tokens=5)
    bench.run()
    assert bench.finish("again").usage.num_cached_tokens == len(LONG)


def test_another_scope_shares_nothing_live_resting_or_on_disk(tmp_path: Path) -> None:
    bench = Bench(SCRIPT, **disk(tmp_path))
    bench.add("mine", LONG, max_tokens=200, scope="a")
    bench.run_until("mine", 5)
    bench.add("theirs", LONG, max_tokens=1, scope="b")
    bench.run()
    assert bench.finish("theirs").usage.num_cached_tokens == 0
    bench.engine.close()
    bench = Bench(SCRIPT, **disk(tmp_path))
    for scope, expected in (("c", 0), ("a", len(LONG) - 1), ("b", len(LONG) - 1)):
        bench.add(scope, LONG, max_tokens=1, scope=scope)
        bench.run()
        assert bench.finish(scope).usage.num_cached_tokens == expected


def test_a_conversation_outlives_the_process(tmp_path: Path) -> None:
    first = Bench(SCRIPT, **disk(tmp_path))
    first.add("a", LONG, max_tokens=100)
    first.run()
    answer = first.finish("a").tokens
    first.engine.close()
    second = Bench(SCRIPT, **disk(tmp_path))
    second.add("b", [*LONG, *answer, 50, 51], max_tokens=10)
    second.run()
    usage = second.finish("b").usage
    assert usage.num_cached_tokens == len(LONG) + len(answer) - 1  # the last token of an answer has no KV yet
    assert second.engine.statistics().num_disk_tokens == usage.num_cached_tokens
    twin = Bench(SCRIPT, cache_bytes=0)
    twin.add("b", [*LONG, *answer, 50, 51], max_tokens=10)
    twin.run()
    assert second.finish("b").tokens == twin.finish("b").tokens


@pytest.mark.parametrize("damage", ["flip", "cut", "vanish", "all vanish"])
def test_damaged_files_are_computed_again(tmp_path: Path, damage: str) -> None:
    first = Bench(SCRIPT, **disk(tmp_path))
    first.add("a", LONG, max_tokens=1)
    first.run()
    first.engine.close()
    second = Bench(SCRIPT, **disk(tmp_path))
    files = sorted(tmp_path.rglob("*.kv"))
    assert len(files) == 8
    for file in files if damage == "all vanish" else files[3:4]:
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        if damage == "flip":
            file.write_bytes(data)
        elif damage == "cut":
            file.write_bytes(data[:-7])
        else:
            file.unlink()
    second.add("b", [*LONG, 60], max_tokens=10)
    second.run()
    assert second.finish("b").usage.num_cached_tokens < len(LONG)
    assert second.finish("b").usage.num_output_tokens == 10
    second.check_rest()
    second.engine.close()
    third = Bench(SCRIPT, **disk(tmp_path))
    third.add("c", [*LONG, 61], max_tokens=1)
    third.run()
    assert third.finish("c").usage.num_cached_tokens == len(LONG)  # it was written anew


def test_a_store_of_another_model_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Bench(SCRIPT, **disk(tmp_path))
    first.add("a", LONG, max_tokens=1)
    first.run()
    first.engine.close()
    files = {path: path.read_bytes() for path in tmp_path.rglob("*.kv")}
    monkeypatch.setattr(type(first.backend), "state_fingerprint", "another model")
    second = Bench(SCRIPT, **disk(tmp_path))
    second.add("b", LONG, max_tokens=1)
    second.run()
    assert second.finish("b").usage.num_cached_tokens == 0
    assert {path: path.read_bytes() for path in files} == files


def test_a_folder_that_cannot_be_written_costs_nothing_but_the_cache(tmp_path: Path) -> None:
    (tmp_path / "kv").write_text("not a folder")
    bench = Bench(SCRIPT, **disk(tmp_path / "kv"))
    for id in "ab":
        bench.add(id, LONG, max_tokens=3)
        bench.run()
    assert bench.finish("b").usage.num_cached_tokens == len(LONG) - 1  # from memory
    bench.check_rest()


def test_what_leaves_memory_comes_back_from_disk(tmp_path: Path) -> None:
    bench = Bench(SCRIPT, **disk(tmp_path, cache_bytes=2_000 * 64))
    other = [*reversed(LONG)]
    for id, prompt in (("a", LONG), ("b", other), ("c", [*LONG, 70])):
        bench.add(id, prompt, max_tokens=1)
        bench.run()
        bench.settle()
    assert bench.finish("c").usage.num_cached_tokens == len(LONG)
    assert bench.engine.statistics().num_disk_tokens > 1_000
    shutil.rmtree(tmp_path)


def test_prefill_only_says_nothing_and_leaves_the_prompt_warm() -> None:
    bench = Bench(SCRIPT)
    bench.add("warm", LONG, max_tokens=0)
    bench.run()
    finish = bench.finish("warm")
    assert (finish.reason, finish.tokens, finish.usage.num_output_tokens) == ("length", [], 0)
    bench.add("next", LONG, max_tokens=1)
    bench.run()
    assert bench.finish("next").usage.num_cached_tokens == len(LONG) - 1


def test_blocks_are_kept_while_a_sequence_still_runs(tmp_path: Path) -> None:
    """What a long prompt has cost is not lost with it, even if the process dies before the answer."""
    bench = Bench(SCRIPT, chunk_tokens=256, **disk(tmp_path))
    bench.add("a", LONG, max_tokens=5)
    for _ in range(4):
        bench.engine.step()
    bench.settle()
    assert len(list(tmp_path.rglob("*.kv"))) == 4


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
    bench = Bench('{"rules": [{"say": "%s"}]}' % ("word " * 200))
    bench.add("a", chat("talk"), max_tokens=500)
    bench.run_until("a", 7)
    bench.engine.steer("a", bench.work("b", "<|end|>" + chat("stop"), 5))
    bench.run()
    assert bench.finish("a").usage.num_output_tokens == 7 + 24


def test_a_steered_answer_ends_after_a_quarter_second_without_a_line_end() -> None:
    bench = Bench('{"rules": [{"say": "%s", "step_ms": 100}]}' % ("word " * 200))
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
