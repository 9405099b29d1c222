"""Prefixes that are reused, kept, fetched and scoped."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.engine.helpers import Bench

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


def test_many_that_need_the_same_blocks_read_them_once(tmp_path: Path) -> None:
    first = Bench(SCRIPT, **disk(tmp_path))
    first.add("a", LONG, max_tokens=1)
    first.run()
    first.engine.close()
    second = Bench(SCRIPT, **disk(tmp_path, max_live=8))
    for id in "abcdef":
        second.add(id, [*LONG, 40 + ord(id)], max_tokens=2)
    second.run()
    assert all(second.finish(id).usage.num_cached_tokens == len(LONG) for id in "abcdef")
    assert second.engine.statistics().num_disk_tokens == len(LONG)
    second.check_rest()


def test_what_was_fetched_stays_until_it_is_used(tmp_path: Path) -> None:
    """Two fetches that together do not fit: neither takes from the other what it waits to load."""
    size = 64 * (len(LONG) + 300)
    other = [*reversed(LONG)]
    first = Bench(SCRIPT, **disk(tmp_path))
    for id, prompt in (("a", LONG), ("b", other)):
        first.add(id, prompt, max_tokens=1)
        first.run()
    first.engine.close()
    second = Bench(SCRIPT, **disk(tmp_path, cache_bytes=size, max_live=2))
    second.add("a", LONG, max_tokens=1)
    second.add("b", other, max_tokens=1)
    second.engine.step()
    second.settle()
    second.run()
    assert second.finish("a").usage.num_cached_tokens == len(LONG) - 1
    second.check_rest()


def test_a_request_that_ends_while_its_prefix_is_fetched_leaves_nothing(tmp_path: Path) -> None:
    first = Bench(SCRIPT, **disk(tmp_path))
    first.add("a", LONG, max_tokens=1)
    first.run()
    first.engine.close()
    second = Bench(SCRIPT, **disk(tmp_path))
    second.add("a", LONG, max_tokens=1)
    second.engine.step()
    second.engine.cancel("a")
    second.settle()
    second.run()
    second.check_rest()
