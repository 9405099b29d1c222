"""Blocks on disk: what was written is found again, the rest leaves in the right order."""

import array
import os
import stat
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firesteel.engine.kv import file
from firesteel.engine.kv.store import BlockStore, identify
from tests.engine.blocks import Wall, kept, names, open_store, tokens_of, write_chain

STATES = [
    pytest.param(b"KV" * 1000, id="bytes"),
    pytest.param(b"", id="nothing"),
    pytest.param(array.array("H", range(1000)), id="array"),
    pytest.param(np.arange(999, dtype=np.uint8), id="numpy"),
    pytest.param(np.arange(12, dtype=np.float32).reshape(3, 4), id="matrix"),
]


@pytest.mark.parametrize("state", STATES)
def test_what_was_written_is_read_by_a_later_process(tmp_path: Path, state: Any) -> None:
    id = open_store(tmp_path).write("scope", "", 0, tokens_of(7, 200), state)
    later = open_store(tmp_path)
    (block,) = later.scan()
    assert (block.id, block.parent, block.scope, block.position) == (id, "", "scope", 0)
    assert block.tokens.dtype == np.int32
    assert block.tokens.tolist() == tokens_of(7, 200).tolist()
    assert block.num_bytes == memoryview(state).nbytes
    assert later.read(block.id) == memoryview(state).tobytes()


def test_scan_yields_parents_before_children(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    chains = [write_chain(store, 6), write_chain(store, 4, first=50_000), write_chain(store, 6, scope="other")]
    blocks = open_store(tmp_path).scan()
    seen = {""}
    for block in blocks:
        assert block.parent in seen
        seen.add(block.id)
    assert seen == {"", *chains[0], *chains[1], *chains[2]}


def test_an_id_names_scope_and_all_tokens_up_to_its_end(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    first, second = write_chain(store, 2)
    others = [*write_chain(store, 2, scope="a"), *write_chain(store, 2, first=1)]
    assert len({first, second, *others}) == 6
    assert store.write("", "", 0, tokens_of(0), b"another rounding") == first
    assert store.read(first) == bytes(100), "what is there stays"
    assert identify("", first, tokens_of(256)) == second
    assert identify("", first, tokens_of(256).astype(">i4")) == second


def test_only_the_owner_can_look(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_chain(open_store(tmp_path / "home" / "kv"), 2)
    finally:
        os.umask(before)
    found = {path: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert {mode for path, mode in found.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in found.items() if path.is_file()} == {0o600}
    assert len(found) == 6


def test_a_folder_that_was_opened_to_others_is_closed_at_the_next_start(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    write_chain(store, 1)
    store.path.chmod(0o755)
    assert open_store(tmp_path).scan()
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o700


def test_a_block_without_its_parent_is_not_written(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    assert store.write("", "0" * 32, 256, tokens_of(1), b"x") is None
    assert not kept(tmp_path)


def test_orphans_leave_at_the_scan(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    ids = write_chain(store, 5)
    (store.path / f"{ids[2]}.kv").unlink()
    assert [block.id for block in open_store(tmp_path).scan()] == ids[:2]
    assert kept(tmp_path) == set(ids[:2])


def test_what_was_not_used_for_long_leaves_and_what_was_used_stays_with_all_before_it(tmp_path: Path) -> None:
    now = Wall()
    store = open_store(tmp_path, now=now, max_seconds=100.0)
    ids, others = write_chain(store, 4), write_chain(store, 2, first=9_000)
    now.seconds += 90
    store.touch([ids[2]])
    now.seconds += 20
    removed: list[str] = []
    store.on_removed = removed.extend
    store.tidy()
    assert set(removed) == {ids[3], *others}
    blocks = open_store(tmp_path, now=now, max_seconds=100.0).scan()
    assert [block.id for block in blocks] == ids[:3]
    assert [block.used_at for block in blocks] == pytest.approx([now.seconds - 20] * 3)


def test_a_time_in_the_far_future_does_not_keep_a_block_for_ever(tmp_path: Path) -> None:
    now = Wall()
    write_chain(open_store(tmp_path, now=now, max_seconds=100.0), 1)
    now.seconds -= 1_000
    assert open_store(tmp_path, now=now, max_seconds=100.0).scan() == []


steps = st.lists(st.tuples(st.sampled_from(["write", "write", "touch", "remove"]), st.integers(0, 30)), max_size=40)


class Plain:
    """The rule in a few lines: the least recently used goes, the deepest first; a use is one of all before it."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.blocks: dict[str, tuple[float, int, str, int]] = {}  # id: used at, minus position, parent, bytes

    def use(self, id: str, now: float) -> None:
        while id in self.blocks:
            _, position, parent, size = self.blocks[id]
            self.blocks[id] = (now, position, parent, size)
            id = parent

    def fit(self) -> None:
        while sum(size for _, _, _, size in self.blocks.values()) > self.max_bytes:
            del self.blocks[min(self.blocks, key=self.blocks.__getitem__)]


@settings(max_examples=60, deadline=None)
@given(steps, st.integers(2_500, 12_000))
def test_the_folder_holds_what_the_plain_rule_keeps(steps: list[tuple[str, int]], max_bytes: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        now, gone = Wall(), set[str]()
        store = open_store(Path(folder), now=now, max_bytes=max_bytes, on_removed=gone.update)
        about_bytes = len(b'{"model":"","fingerprint":"model, f16","format":1}')
        plain = Plain(max_bytes - about_bytes)
        known = [""]
        for step, choice in steps:
            now.seconds += 1
            id = known[choice % len(known)]
            if step == "touch":
                store.touch([id])
                plain.use(id, now())
            elif step == "remove":
                if not any(parent == id for _, _, parent, _ in plain.blocks.values()):
                    store.remove([id])
                    gone.update({id} if plain.blocks.pop(id, None) else {})  # not told
            else:
                write_both(store, plain, id, choice, known)
            assert kept(Path(folder)) == set(plain.blocks)
            assert sum(path.stat().st_size for path in Path(folder).glob("*/*")) <= max_bytes
        assert gone >= set(known[1:]) - set(plain.blocks)
        assert {block.id for block in open_store(Path(folder), now=now).scan()} == set(plain.blocks)


def write_both(store: BlockStore, plain: Plain, parent: str, choice: int, known: list[str]) -> None:
    """Write a block after `parent` into the store and into the plain model, which must agree whether it stays."""
    position = 256 - plain.blocks[parent][1] if parent in plain.blocks else 0
    id = identify("", parent, tokens_of(choice))
    written = store.write("", parent, position, tokens_of(choice), bytes(choice * 30))
    if not parent or parent in plain.blocks:
        size = plain.blocks[id][3] if id in plain.blocks else written_size(parent, position, choice)
        plain.blocks[id] = (store._now(), -position, parent, size)
        plain.use(id, store._now())
        plain.fit()
        known.append(id)
    assert written == (id if id in plain.blocks else None)


def written_size(parent: str, position: int, choice: int) -> int:
    header = file.Header(parent, "", position, tokens_of(choice).tobytes(), choice * 30, bytes(32))
    return len(file.head_of(Path("0" * 32) / "x.kv", header)) + choice * 30


def test_a_block_larger_than_the_bound_is_not_kept(tmp_path: Path) -> None:
    store = open_store(tmp_path, max_bytes=5_000)
    assert store.write("", "", 0, tokens_of(0), bytes(6_000)) is None
    assert not kept(tmp_path)
    assert store.write("", "", 0, tokens_of(0), bytes(1_000)) is not None


def test_other_models_and_versions_are_left_alone_until_the_bound_is_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = Wall()
    other = open_store(tmp_path, "other model", now=now)
    others = write_chain(other, 3, num_bytes=2_000)
    with monkeypatch.context() as patch:
        patch.setattr(file, "FORMAT", file.FORMAT + 1)
        older = write_chain(open_store(tmp_path, now=now), 2, num_bytes=2_000)
    now.seconds += 1
    store = open_store(tmp_path, now=now, max_bytes=20_000)
    assert store.scan() == []
    assert store.read(others[0]) is None
    assert kept(tmp_path) == {*others, *older}
    ids = write_chain(store, 5, first=20_000, num_bytes=2_000)
    assert set(ids) <= kept(tmp_path)
    assert [block.id for block in other.scan()] == others[: len(kept(tmp_path) & set(others))]
    assert len(kept(tmp_path)) < 10


def test_files_that_are_not_ours_are_left_alone(tmp_path: Path) -> None:
    strangers = [tmp_path / "notes.kv", tmp_path / "photos" / f"{'0' * 32}.kv", tmp_path / ("a" * 32) / "x.kv"]
    for path in strangers:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(2_000))
        os.utime(path, (0, 0))
    write_chain(open_store(tmp_path, max_bytes=8_000), 4)
    open_store(tmp_path).scan()
    assert all(path.exists() for path in strangers)


def test_what_another_process_uses_is_not_the_first_to_go(tmp_path: Path) -> None:
    now = Wall()
    store = open_store(tmp_path, now=now, max_bytes=10_000)
    old, newer = write_chain(store, 1, num_bytes=3_000), write_chain(store, 1, first=5_000, num_bytes=3_000)
    now.seconds += 10
    second = open_store(tmp_path, now=now)
    second.scan()
    second.touch(old)
    write_chain(store, 1, first=9_000, num_bytes=3_000)
    assert kept(tmp_path) & {*old, *newer} == set(old)


def test_two_stores_share_a_folder_at_the_same_time(tmp_path: Path) -> None:
    stores = [open_store(tmp_path, max_bytes=200_000) for _ in range(2)]
    failures: list[str] = []

    def work(store: BlockStore, first: int) -> None:
        for round in range(30):
            parent = ""
            for number, start in enumerate((0, first + round, round)):
                id = store.write("", parent, number * 256, tokens_of(start), bytes([number]) * 4_000)
                if id is None:
                    break
                if store.read(id) not in (None, bytes([number]) * 4_000):
                    failures.append(id)
                parent = id

    threads = [threading.Thread(target=work, args=(store, 1_000 * n)) for n, store in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    last = open_store(tmp_path, max_bytes=200_000)
    blocks = last.scan()
    assert sum(path.stat().st_size for path in tmp_path.glob("*/*")) <= 200_000
    assert {block.id for block in blocks} == kept(tmp_path)
    assert all(last.read(block.id) is not None for block in blocks)
    assert not [name for name in names(tmp_path) if name.endswith(".tmp")]
