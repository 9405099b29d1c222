"""Blocks on disk when things go wrong: killed in the middle, damaged, full, cleared, forbidden."""

import logging
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from firesteel.engine.kv import file
from tests.engine.blocks import Wall, kept, names, open_store, tokens_of, write_chain

WRITER = """
import os, sys
from pathlib import Path
from tests.engine.blocks import open_store, write_chain
write_chain(open_store(Path(sys.argv[1])), 1, first=10**8, num_bytes=2_000_000)
if sys.argv[2] == "dies":
    Path.replace = lambda *_: os.kill(os.getpid(), 9)
print("ready", flush=True)
for round in range(10_000):
    write_chain(open_store(Path(sys.argv[1])), 8, first=round * 5_000, num_bytes=2_000_000)
"""
ROOT = Path(__file__).parents[2]


def writer(folder: Path, how: str = "lives") -> "subprocess.Popen[bytes]":
    """Start a process that writes blocks without end; return when it has written one."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, folder, how], stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def assert_only_whole_blocks(folder: Path) -> int:
    """Scan and read everything; return how many blocks there are."""
    store = open_store(folder)
    blocks = store.scan()
    assert {block.id for block in blocks} == kept(folder)
    for block in blocks:
        assert store.read(block.id) == bytes([block.position // 256]) * 2_000_000
    assert not [name for name in names(folder) if name.endswith(".tmp")]
    return len(blocks)


def test_a_process_killed_in_the_middle_of_a_write_leaves_only_whole_blocks(tmp_path: Path) -> None:
    chance = random.Random(3)
    for _ in range(5):
        process = writer(tmp_path)
        time.sleep(0.05 * chance.random())
        end(process)
        assert assert_only_whole_blocks(tmp_path) > 0


def test_a_process_killed_just_before_a_write_is_done_leaves_nothing_of_it(tmp_path: Path) -> None:
    process = writer(tmp_path, "dies")
    process.communicate()
    assert len([name for name in names(tmp_path) if name.endswith(".tmp")]) == 1
    assert assert_only_whole_blocks(tmp_path) == 1


def test_what_a_living_process_is_writing_stays(tmp_path: Path) -> None:
    process = writer(tmp_path)
    try:
        for _ in range(20):
            open_store(tmp_path).tidy()
        assert process.poll() is None
        temporary = f"x.kv.{process.pid}-00000000-1.tmp"
        assert not file.is_left_over(temporary)
    finally:
        end(process)
    assert file.is_left_over(temporary)
    assert file.is_left_over(f"x.kv.{os.getpid()}-00000000-1.tmp"), "an earlier process with our number"
    assert not file.is_left_over("x.kv")
    assert assert_only_whole_blocks(tmp_path) > 0


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_flipped_bit_anywhere_is_a_miss_that_is_logged_and_written_anew(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder))
        first, second = write_chain(store, 2)
        path = store.path / f"{first}.kv"
        content = bytearray(path.read_bytes())
        where = data.draw(st.integers(0, len(content) - 1))
        content[where] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(content)
        assert_missed_once_and_written_anew(Path(folder), first, second)


@settings(max_examples=80, deadline=None)
@given(st.floats(0, 1, exclude_max=True), st.booleans())
def test_a_torn_file_is_a_miss_that_is_logged_and_written_anew(share: float, is_zeroed: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder))
        first, second = write_chain(store, 2)
        path = store.path / f"{first}.kv"
        content = path.read_bytes()
        stays = int(share * len(content))
        if content[stays:].strip(b"\0"):  # zeros may stand for zeros
            path.write_bytes(content[:stays] + bytes(len(content) - stays) * is_zeroed)
            assert_missed_once_and_written_anew(Path(folder), first, second)


def assert_missed_once_and_written_anew(folder: Path, damaged: str, whole: str) -> None:
    store, told = open_store(folder), Told()
    with told:
        assert store.read(damaged) is None
        assert store.read(damaged) is None
        assert store.read(whole) == bytes([1]) * 100
    assert [damaged in message for message in told.messages] == [True]
    assert kept(folder) == {whole}
    assert store.write("", "", 0, tokens_of(0), bytes(100)) == damaged
    assert store.read(damaged) == bytes(100)
    assert [block.id for block in open_store(folder).scan()] == [damaged, whole]


class Told(logging.Handler):
    """Collects what is logged; Hypothesis cannot reset pytest's own between two examples."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())

    def __enter__(self) -> None:
        logging.getLogger("firesteel").addHandler(self)

    def __exit__(self, *_: object) -> None:
        logging.getLogger("firesteel").removeHandler(self)


def test_damage_in_a_header_is_found_by_the_scan_and_takes_what_follows_along(tmp_path: Path) -> None:
    store, told = open_store(tmp_path), Told()
    ids = write_chain(store, 4)
    with (store.path / f"{ids[1]}.kv").open("r+b") as opened:
        opened.seek(100)
        opened.write(b"!?")
    with told:
        assert [block.id for block in open_store(tmp_path).scan()] == ids[:1]
    assert [ids[1] in message for message in told.messages] == [True]
    assert kept(tmp_path) == {ids[0]}


def test_a_file_of_other_settings_or_under_another_name_is_not_believed(tmp_path: Path) -> None:
    store, other = open_store(tmp_path), open_store(tmp_path, "model, q8_0")
    (first,), (same,) = write_chain(store, 1), write_chain(other, 1)
    assert first == same
    (other.path / f"{same}.kv").replace(store.path / f"{first}.kv")
    assert store.read(first) is None
    (first,) = write_chain(store, 1)
    (store.path / f"{first}.kv").replace(store.path / f"{'0' * 32}.kv")
    assert store.read("0" * 32) is None
    assert not kept(tmp_path)


@contextmanager
def small_disk(num_bytes: int) -> Iterator[None]:
    """Let the kernel take no more than `num_bytes` of each file: a write stops in the middle with an error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_told_once_leaves_nothing_and_is_tried_again_later(tmp_path: Path) -> None:
    now, told = Wall(), Told()
    store = open_store(tmp_path, now=now)
    with told:
        with small_disk(300_000):
            assert store.write("", "", 0, tokens_of(0), bytes(1_000_000)) is None
            assert names(tmp_path) == {"about.json"}
            assert store.write("", "", 0, tokens_of(0), b"small, but too early") is None
            now.seconds += 31
            assert store.write("", "", 0, tokens_of(0), bytes(1_000_000)) is None
        assert [str(store.path) in message for message in told.messages] == [True]
        now.seconds += 29
        assert store.write("", "", 0, tokens_of(0), b"too early") is None
        now.seconds += 2
        assert store.write("", "", 0, tokens_of(0), b"fits") is not None
        with small_disk(300_000):
            assert store.write("", "", 0, tokens_of(1), bytes(1_000_000)) is None
    assert len(told.messages) == 2, "again, after a success"
    assert {name.split(".")[-1] for name in names(tmp_path)} == {"json", "kv"}


def test_a_folder_that_cannot_be_made_or_looked_into_is_told_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "kv").write_text("a file where the folder should be")
    store, told = open_store(tmp_path / "kv"), Told()
    with told:
        assert store.scan() == []
        assert store.write("", "", 0, tokens_of(0), b"x") is None
        assert store.read("0" * 32) is None
    assert len(told.messages) >= 1
    assert "cannot be kept" in told.messages[0]


def test_what_vanished_is_a_quiet_miss_and_the_store_goes_on(tmp_path: Path) -> None:
    removed: list[str] = []
    store, told = open_store(tmp_path, on_removed=removed.extend), Told()
    first, second = write_chain(store, 2)
    for path in store.path.iterdir():
        path.unlink()
    store.path.rmdir()
    with told:
        assert store.read(second) is None
        assert store.write("", first, 256, tokens_of(256), b"x") is None, "its parent is gone"
        assert removed == [second, first]
        assert write_chain(store, 2) == [first, second]
    assert told.messages == []
    assert store.num_bytes == sum(path.stat().st_size for path in store.path.iterdir())
