"""The disk's thread: results in order, reads first, bounded memory, and nothing that ends it early."""

import gc
import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from firesteel.engine.kv.disk import DISK_NICENESS, DiskThread
from firesteel.engine.kv.store import BlockFile, BlockStore, identify
from tests.engine.blocks import GENEROUS, Wall, kept, open_store, tokens_of

PATIENCE_SECONDS = 10.0


class GatedStore(BlockStore):
    """A store whose writes wait until the gate is open, and which can fail in ways that no store should."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "model", max_bytes=GENEROUS, max_seconds=86_400.0)
        self.gate = threading.Event()
        self.is_writing = threading.Event()
        self.bug: Exception | None = None

    def write(self, scope: str, parent: str, position: int, tokens: npt.NDArray[np.int32], state: Any) -> str | None:
        self.is_writing.set()
        assert self.gate.wait(PATIENCE_SECONDS)
        return super().write(scope, parent, position, tokens, state)

    def read(self, id: str) -> bytes | None:
        if self.bug is not None:
            raise self.bug
        return super().read(id)

    def scan(self) -> list[BlockFile]:
        if self.bug is not None:
            raise self.bug
        return super().scan()


class Inbox:
    """Where results arrive; they take effect when `take` is called, as on the engine's thread."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []
        self.results: list[Any] = []

    def deliver(self, callback: Callable[[], None]) -> None:
        self.waiting.append(callback)

    def keep(self, name: str) -> Callable[[Any], None]:
        return lambda result: self.results.append((name, result))

    def take(self) -> list[Any]:
        while self.waiting:
            self.waiting.pop(0)()
        results, self.results = self.results, []
        return results


@pytest.fixture
def store(tmp_path: Path) -> GatedStore:
    return GatedStore(tmp_path)


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def disk(store: GatedStore, inbox: Inbox) -> Iterator[DiskThread]:
    disk = DiskThread(store, deliver=inbox.deliver, on_removed=inbox.keep("removed"), max_waiting_bytes=1_000)
    yield disk
    store.gate.set()
    assert disk.close(PATIENCE_SECONDS)


def write(disk: DiskThread, inbox: Inbox, first: int, num_bytes: int = 10, parent: str = "") -> str:
    """Queue a block and return the id that it will have."""
    position = 256 if parent else 0
    disk.write("", parent, position, tokens_of(first), bytes(num_bytes), inbox.keep(f"written {first}"))
    return disk.identify("", parent, tokens_of(first))


def test_blocks_travel_to_the_disk_and_back(disk: DiskThread, store: GatedStore, inbox: Inbox) -> None:
    store.gate.set()
    first = write(disk, inbox, 1)
    second = write(disk, inbox, 2, num_bytes=20, parent=first)
    assert disk.flush(PATIENCE_SECONDS)
    disk.read([second, "0" * 32, first], inbox.keep("read"))
    disk.scan(lambda blocks: inbox.results.append([block.id for block in blocks]))
    assert disk.flush(PATIENCE_SECONDS)
    assert inbox.results == [], "nothing happens on the disk's thread"
    assert inbox.take() == [
        ("written 1", first),
        ("written 2", second),
        ("read", [bytes(20), None, bytes(10)]),
        [first, second],
    ]
    assert identify("", first, tokens_of(2)) == second


def test_reads_go_before_writes_that_wait(disk: DiskThread, store: GatedStore, inbox: Inbox) -> None:
    for first in (1, 2, 3):
        write(disk, inbox, first)
    assert store.is_writing.wait(PATIENCE_SECONDS)
    disk.read(["0" * 32], inbox.keep("read"))
    store.gate.set()
    assert disk.flush(PATIENCE_SECONDS)
    assert [name for name, _ in inbox.take()] == ["written 1", "read", "written 2", "written 3"]


def test_too_much_that_waits_is_dropped_and_told(disk: DiskThread, store: GatedStore, inbox: Inbox) -> None:
    for first in range(5):
        write(disk, inbox, first, num_bytes=300)
    assert disk.num_waiting_bytes == 900
    assert disk.num_dropped == 2
    assert inbox.take() == [("written 3", None), ("written 4", None)]
    store.gate.set()
    assert disk.flush(PATIENCE_SECONDS)
    assert [result is None for _, result in inbox.take()] == [False] * 3
    assert disk.num_waiting_bytes == 0
    write(disk, inbox, 4, num_bytes=300)
    assert disk.flush(PATIENCE_SECONDS)
    assert inbox.take() == [("written 4", disk.identify("", "", tokens_of(4)))]


def test_flush_says_when_it_took_too_long(disk: DiskThread, store: GatedStore, inbox: Inbox) -> None:
    assert disk.flush(0)
    write(disk, inbox, 1)
    assert not disk.flush(0.01)
    store.gate.set()
    assert disk.flush(PATIENCE_SECONDS)


def test_close_answers_everything_and_ends_the_thread(
    disk: DiskThread, store: GatedStore, inbox: Inbox, tmp_path: Path
) -> None:
    id = write(disk, inbox, 1)
    assert store.is_writing.wait(PATIENCE_SECONDS)
    write(disk, inbox, 2)
    disk.read(["a", "b"], inbox.keep("read"))
    assert not disk.close(0.01), "the running write has not ended"
    store.gate.set()
    assert disk.close(PATIENCE_SECONDS)
    write(disk, inbox, 3)
    disk.scan(inbox.keep("scan"))
    disk.touch(["a"])
    disk.remove([id])
    assert inbox.take() == [
        ("read", [None, None]),
        ("written 2", None),
        ("written 1", id),
        ("written 3", None),
        ("scan", []),
    ]
    assert kept(tmp_path) == {id}
    assert disk.num_waiting_bytes == 0
    assert "disk" not in {thread.name for thread in threading.enumerate()}


def test_a_bug_is_logged_and_does_not_end_the_thread(
    disk: DiskThread, store: GatedStore, inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    store.gate.set()
    id = write(disk, inbox, 1)
    assert disk.flush(PATIENCE_SECONDS)
    store.bug = ZeroDivisionError("a bug")
    with caplog.at_level(logging.ERROR, "firesteel"):
        disk.read([id, id], inbox.keep("read"))
        disk.scan(inbox.keep("scan"))
        assert disk.flush(PATIENCE_SECONDS)
    assert caplog.text.count("ZeroDivisionError: a bug") == 2
    store.bug = None
    disk.read([id], inbox.keep("read"))
    assert disk.flush(PATIENCE_SECONDS)
    assert inbox.take()[1:] == [("read", [None, None]), ("scan", []), ("read", [bytes(10)])]


def test_blocks_that_vanished_are_told_and_removed_ones_are_not(
    disk: DiskThread, store: GatedStore, inbox: Inbox
) -> None:
    store.gate.set()
    ids = [write(disk, inbox, first) for first in range(3)]
    assert disk.flush(PATIENCE_SECONDS)
    inbox.take()
    (store.path / f"{ids[1]}.kv").unlink()
    disk.remove([ids[0]])
    assert disk.flush(PATIENCE_SECONDS)
    disk.read([ids[1]], inbox.keep("read"))
    assert disk.flush(PATIENCE_SECONDS)
    assert inbox.take() == [("removed", [ids[1]]), ("read", [None])]
    assert kept(store.folder) == {ids[2]}


def test_touch_marks_use(disk: DiskThread, store: GatedStore, inbox: Inbox) -> None:
    store.gate.set()
    id = write(disk, inbox, 1)
    assert disk.flush(PATIENCE_SECONDS)
    path = store.path / f"{id}.kv"
    before = path.stat().st_mtime_ns
    disk.touch([id, "0" * 32])
    assert disk.flush(PATIENCE_SECONDS)
    assert path.stat().st_mtime_ns > before


def test_what_expires_leaves_although_nothing_is_written(tmp_path: Path, inbox: Inbox) -> None:
    now = Wall()
    store = open_store(tmp_path, max_seconds=10.0, now=now)
    removed = threading.Event()
    disk = DiskThread(store, deliver=lambda callback: callback(), on_removed=lambda _: removed.set(), tidy_seconds=0.05)
    disk.write("", "", 0, tokens_of(0), b"x", lambda _: None)
    assert disk.flush(PATIENCE_SECONDS)
    assert len(kept(tmp_path)) == 1
    now.seconds += 11
    assert removed.wait(PATIENCE_SECONDS)
    assert disk.close(PATIENCE_SECONDS)
    assert kept(tmp_path) == set()


def test_a_state_is_not_held_after_it_was_written(disk: DiskThread, store: GatedStore, inbox: Inbox) -> None:
    store.gate.set()
    state = np.zeros(10, dtype=np.uint8)
    held = weakref.ref(state)
    disk.write("", "", 0, tokens_of(0), state, inbox.keep("written"))
    assert disk.flush(PATIENCE_SECONDS)
    del state
    gc.collect()
    assert held() is None


def test_the_thread_yields_to_the_model(tmp_path: Path) -> None:
    found: list[int] = []

    def deliver(callback: Callable[[], None]) -> None:
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    disk = DiskThread(open_store(tmp_path), deliver=deliver)
    disk.scan(lambda _: None)
    assert disk.flush(PATIENCE_SECONDS)
    assert disk.close(PATIENCE_SECONDS)
    ours = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    assert ours < DISK_NICENESS
    assert found == [DISK_NICENESS if sys.platform == "linux" else ours]
