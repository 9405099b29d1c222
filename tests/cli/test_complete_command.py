"""`firesteel complete`: the cursor, and what is inserted there."""

import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firesteel.cli.complete import parse_place, split_at
from firesteel.errors import RequestError
from tests.server.live import environment, firesteel

TEXT = "def add(a, b):\n    return \n\nprint(add(1, 2))\n"

numbers = st.integers(1, 10**6)
names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)


@given(names, numbers, st.none() | numbers)
def test_places_are_read_from_their_end(name: str, line: int, column: int | None) -> None:
    """File names may hold colons; one that ends in `:NUMBER` itself needs the column written out."""
    if column is None and name.rpartition(":")[2].isdigit():
        return
    place = f"{name}:{line}" if column is None else f"{name}:{line}:{column}"
    assert parse_place(place) == (Path(name), line, column)


@pytest.mark.parametrize(
    "place", ["", "app.py", ":3", "app.py:", "app.py:0", "app.py:x", "app.py:3:0", "app.py:-1", "app.py:²"]
)
def test_places_that_are_none(place: str) -> None:
    with pytest.raises(RequestError, match="FILE:LINE"):
        parse_place(place)


@given(st.lists(st.text("ab \r", max_size=4), min_size=1, max_size=5), st.data())
def test_the_cursor_splits_the_text_and_loses_nothing(lines: list[str], data: st.DataObject) -> None:
    text = "\n".join(lines)
    line = data.draw(st.integers(1, len(lines)))
    width = len(lines[line - 1].removesuffix("\r"))
    column = data.draw(st.none() | st.integers(1, width + 1))
    prompt = split_at(text, line, column)
    assert prompt.prefix + prompt.suffix == text
    before = prompt.prefix.split("\n")
    assert len(before) == line
    assert len(before[-1]) == (width if column is None else column - 1)


def test_a_cursor_outside_the_text() -> None:
    with pytest.raises(RequestError, match="2 lines"):
        split_at("a\nb", 3, None)
    with pytest.raises(RequestError, match="1 characters"):
        split_at("a\nb", 1, 3)


def complete(place: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    line = firesteel("complete", place, "--backend", "scripted", *arguments)
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=30, env=environment({}))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "add.py"
    path.write_text(TEXT)
    return path


def test_the_insertion_goes_to_stdout_and_the_file_stays(file: Path) -> None:
    done = complete(f"{file}:2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert file.read_text() == TEXT
    assert complete(f"{file}:2:12").stdout == done.stdout
    assert complete(f"{file}:1:5").stdout != done.stdout


def test_json(file: Path) -> None:
    document = json.loads(complete(f"{file}:2", "--json").stdout)
    assert document["insertion"] == complete(f"{file}:2").stdout
    assert (document["file"], document["line"], document["column"]) == (str(file), 2, 12)
    assert document["finish_reason"] in ("stop", "length")
    assert json.loads(complete(f"{file}:2", "--json", "--max-tokens", "1").stdout)["output_tokens"] == 1


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("{file}", "FILE:LINE"),
        ("{file}:99", "99"),
        ("{file}:2:99", "column 99"),
        ("{folder}/nothing.py:1", "nothing.py"),
        ("{folder}:1", "cannot read"),
        ("{folder}/binary:1", "utf-8"),
    ],
)
def test_bad_places_are_clear_errors(file: Path, place: str, words: str) -> None:
    (file.parent / "binary").write_bytes(b"\xff\xfe\x00")
    done = complete(place.format(file=file, folder=file.parent))
    assert done.returncode == 1
    assert words in done.stderr
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
    assert not done.stdout


@pytest.mark.parametrize(
    ("suffix", "stop"),
    [
        ("\n    return total\n", ("\n    return total",)),
        (")\n\n}\nprint(total)\n", ("\nprint(total)",)),
        (") or later on the cursor's line", ()),
        ("", ()),
    ],
)
def test_the_insertion_stops_before_it_repeats_what_follows(suffix: str, stop: tuple[str, ...]) -> None:
    from firesteel.cli.complete import stop_before

    assert stop_before(suffix) == stop
