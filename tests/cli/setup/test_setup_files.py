import json
import stat
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firesteel.cli.setup.files import Settings, _merge, merged, snippet, write
from firesteel.errors import ConfigError

NOW = datetime(2026, 1, 2, 3, 4, 5)
WANTED: dict[str, Any] = {"model": "m", "providers": {"firesteel": {"url": "u"}}}


def settings(path: Path, format: Any, content: Any = WANTED) -> Settings:
    return Settings(path=path, format=format, content=content)


values = st.recursive(
    st.integers(0, 3) | st.text("ab", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("xy", min_size=1, max_size=1), inner, max_size=3)
        | st.fixed_dictionaries({"name": st.sampled_from("pq"), "v": inner})
    ),
    max_leaves=8,
)


@given(values, values)
def test_merging_twice_is_merging_once(old: Any, new: Any) -> None:
    once = _merge(json.loads(json.dumps(old)), json.loads(json.dumps(new)))
    assert _merge(json.loads(json.dumps(once)), json.loads(json.dumps(new))) == once


@given(st.dictionaries(st.text("xyz", min_size=1, max_size=1), values), values)
def test_what_is_not_ours_stays(old: dict[str, Any], new: Any) -> None:
    result = _merge(json.loads(json.dumps(old)), {"ours": new})
    assert {key: value for key, value in result.items() if key != "ours"} == old


@pytest.mark.parametrize(
    ("format", "text"),
    [
        ("toml", '# mine\nmodel = "old"  # kept\nother = 1\n\n[providers.theirs]\nurl = "x"\n'),
        ("yaml", "# mine\nmodel: old  # kept\nother: 1\nproviders:\n  theirs:\n    url: x\n"),
        ("json", '{"model": "old", "other": 1, "providers": {"theirs": {"url": "x"}}}'),
    ],
)
def test_comments_and_other_settings_survive(tmp_path: Path, format: str, text: str) -> None:
    path = tmp_path / "file"
    path.write_text(text)
    old, new = merged(settings(path, format))
    assert old == text
    assert "theirs" in new
    assert "firesteel" in new
    if format != "json":
        assert "# mine" in new
        assert "# kept" in new
    path.write_text(new)
    assert merged(settings(path, format)) == (new, new)


@pytest.mark.parametrize("format", ["toml", "yaml", "json"])
def test_a_new_file_is_the_snippet(tmp_path: Path, format: Any) -> None:
    made = settings(tmp_path / "file", format)
    assert merged(made) == (None, snippet(made))


def test_entries_of_a_list_are_known_by_their_name(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_text('[{"name": "a", "x": 1}, {"name": "b", "x": 1}]')
    _, new = merged(settings(path, "json", [{"name": "b", "x": 2}, {"name": "c"}]))
    assert json.loads(new) == [{"name": "a", "x": 1}, {"name": "b", "x": 2}, {"name": "c"}]


@pytest.mark.parametrize(
    ("format", "text"),
    [("json", '{// a comment\n"a": 1}'), ("json", "[1]"), ("toml", "a = "), ("yaml", "a: [")],
)
def test_what_cannot_be_parsed_is_left_alone(tmp_path: Path, format: str, text: str) -> None:
    path = tmp_path / "file"
    path.write_text(text)
    with pytest.raises(ConfigError, match="--print"):
        merged(settings(path, format))
    assert path.read_text() == text


def test_a_backup_is_kept_and_the_mode_and_the_link_too(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("old")
    real.chmod(0o600)
    link.symlink_to(real)
    backup = write(link, "new", now=NOW)
    assert backup == tmp_path / "real.20260102-030405.bak"
    assert backup.read_text() == "old"
    assert link.is_symlink()
    assert real.read_text() == "new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o600
    assert write(tmp_path / "deep" / "er", "x", now=NOW) is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "link", "real", "real.20260102-030405.bak"]
