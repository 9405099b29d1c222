"""Responses are kept by id, for their own scope, across restarts."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from firesteel.session.response_store import KEPT_SECONDS, MEMORY, ResponseStore, Stored


def stored(id: str, previous: str | None = None) -> Stored:
    return Stored(id, previous, b"[]", b'{"output": []}')


@pytest.fixture
async def store() -> AsyncIterator[ResponseStore]:
    made = ResponseStore(MEMORY)
    yield made
    made.close()


async def test_what_was_put_is_found_by_its_own_scope_only(store: ResponseStore) -> None:
    store.put("a", stored("r"))
    assert await store.get("a", "r") == stored("r")
    assert await store.get("b", "r") is None
    assert await store.chain("b", "r") == []
    assert not await store.delete("b", "r")


async def test_a_chain_comes_in_its_order(store: ResponseStore) -> None:
    for id, previous in (("1", None), ("2", "1"), ("3", "2"), ("x", "1")):
        store.put("a", stored(id, previous))
    assert [found.id for found in await store.chain("a", "3")] == ["1", "2", "3"]
    assert [found.id for found in await store.chain("a", "x")] == ["1", "x"]


async def test_a_chain_that_lost_a_part_says_so(store: ResponseStore) -> None:
    for id, previous in (("1", None), ("2", "1"), ("3", "2")):
        store.put("a", stored(id, previous))
    assert await store.delete("a", "2")
    first, *_ = await store.chain("a", "3")
    assert (first.id, first.previous) == ("3", "2")


async def test_it_outlives_the_process_for_a_month(tmp_path: Path) -> None:
    path, now = str(tmp_path / "deep" / "responses.db"), [1000.0]
    store = ResponseStore(path, lambda: now[0])
    store.put("a", stored("r"))
    store.close()
    now[0] += KEPT_SECONDS - 1
    store = ResponseStore(path, lambda: now[0])
    assert await store.get("a", "r") is not None
    store.close()
    now[0] += 2
    store = ResponseStore(path, lambda: now[0])
    assert await store.get("a", "r") is None
    store.close()


async def test_the_oldest_leave_when_there_is_too_much() -> None:
    clock = iter(range(10**6))
    store = ResponseStore(MEMORY, lambda: float(next(clock)), max_bytes=100_000)
    for number in range(200):
        store.put("a", Stored(str(number), None, b"x" * 1000, b"{}"))
    kept = [number for number in range(200) if await store.get("a", str(number))]
    assert kept == list(range(kept[0], 200))
    assert 100 - 100 // 8 - 1 <= len(kept) <= 100 + 100 // 8
    store.close()


async def test_what_is_too_old_leaves_while_the_store_is_open() -> None:
    now = 0.0
    store = ResponseStore(MEMORY, lambda: now, max_seconds=10)
    store.put("a", stored("old"))
    await store.tidy()
    assert await store.get("a", "old")
    now = 11.0
    await store.tidy()
    assert await store.get("a", "old") is None
    store.close()


async def test_files_are_their_owners_only_and_what_was_deleted_is_in_none_of_them(tmp_path: Path) -> None:
    path = tmp_path / "new" / "responses.db"
    path.parent.mkdir()
    path.touch(mode=0o644)
    path.chmod(0o644)
    store = ResponseStore(str(path))
    for id in ("kept", "deleted"):
        store.put("a", Stored(id, None, f"said by {id}".encode(), b"{}"))
    assert await store.delete("a", "deleted")
    files = list(path.parent.iterdir())
    assert len(files) == 3
    assert not [file for file in files if file.stat().st_mode & 0o077]
    assert not [file for file in files if b"said by deleted" in file.read_bytes()]
    assert [file for file in files if b"said by kept" in file.read_bytes()]
    store.close()
