import os
from pathlib import Path
from typing import Any

import pytest

from firesteel.guard.compiled import database

EXPRESSIONS = (r"\bos\.system", r"(?i)select\s", "x{3}")
TEXT = b"import os; os.system('SELECT 1'); xxx"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FIRESTEEL_HOME", str(tmp_path))
    return tmp_path / "guard"


def hits(compiled: Any) -> list[tuple[int, int]]:
    found = []

    def on_match(id: int, start: int, end: int, flags: int, context: object) -> None:
        found.append((id, end))

    with compiled.stream(match_event_handler=on_match) as stream:
        for byte in TEXT:
            stream.scan(bytes([byte]))
    return found


def only(home: Path) -> Path:
    (path,) = home.iterdir()
    return path


def test_what_is_loaded_finds_what_was_compiled(home: Path) -> None:
    compiled = hits(database("python", EXPRESSIONS))
    before = only(home).stat()
    assert {id for id, _ in compiled} == {0, 1, 2}
    assert hits(database("python", EXPRESSIONS)) == compiled
    assert only(home).stat() == before
    assert before.st_mode & 0o777 == 0o600


@pytest.mark.parametrize("keep", [0, 100, -1], ids=["empty", "cut short", "almost whole"])
def test_a_damaged_file_is_made_anew(home: Path, keep: int) -> None:
    compiled = hits(database("python", EXPRESSIONS))
    path = only(home)
    whole = path.read_bytes()
    path.write_bytes(whole[:keep])
    assert hits(database("python", EXPRESSIONS)) == compiled
    assert len(path.read_bytes()) == len(whole)


def test_a_changed_byte_is_noticed(home: Path) -> None:
    compiled = hits(database("python", EXPRESSIONS))
    data = bytearray(only(home).read_bytes())
    data[len(data) // 2] ^= 0xFF
    only(home).write_bytes(data)
    assert hits(database("python", EXPRESSIONS)) == compiled


def test_other_expressions_take_the_place_of_the_old_ones(home: Path) -> None:
    database("python", EXPRESSIONS)
    database("java", EXPRESSIONS)
    database("python", EXPRESSIONS[:2])
    assert sorted(path.name.split("-")[0] for path in home.iterdir()) == ["java", "python"]


@pytest.mark.skipif(os.name != "posix", reason="folders are made unusable as POSIX has it")
def test_without_a_folder_to_write_in_it_works_all_the_same(home: Path) -> None:
    home.write_text("in the way")
    assert {id for id, _ in hits(database("python", EXPRESSIONS))} == {0, 1, 2}
