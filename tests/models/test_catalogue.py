from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firesteel.errors import ModelError
from firesteel.models import catalogue
from firesteel.models.catalogue import Hub, Mirror

WORD = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,20}", fullmatch=True)


def test_every_entry_can_be_verified() -> None:
    for entry in catalogue.CATALOGUE:
        assert entry.bytes
        assert len(entry.sha256 or "") == 64
        assert entry.license
        assert entry.sources
        for source in entry.sources:
            if isinstance(source, Mirror):
                assert sum(wheel.bytes for wheel in source.wheels) == entry.bytes
    assert catalogue.find(catalogue.DEFAULT).name == catalogue.DEFAULT
    assert isinstance(catalogue.find(catalogue.DEFAULT).sources[0], Hub)


@given(owner=WORD, repository=WORD, revision=st.none() | WORD, folder=st.none() | WORD, stem=WORD)
def test_hub_names_are_taken_apart(
    owner: str, repository: str, revision: str | None, folder: str | None, stem: str
) -> None:
    file = f"{folder}/{stem}.gguf" if folder else f"{stem}.gguf"
    at = f"@{revision}" if revision else ""
    entry = catalogue.find(f"hf:{owner}/{repository}{at}/{file}")
    assert entry.sources == (Hub(f"{owner}/{repository}", revision or "main", file),)
    assert "/" not in entry.file
    assert entry.file.endswith(f"{stem}.gguf")


@pytest.mark.parametrize(
    "name",
    [
        "hf:",
        "hf:a/b",
        "hf:a/b/c.bin",
        "hf:a/../b/c.gguf",
        "hf:a/b/../../c.gguf",
        "hf:/etc/x.gguf",
        f"hf:a/b/{'c' * 300}.gguf",
    ],
)
def test_other_shapes_are_refused(name: str) -> None:
    with pytest.raises(ModelError, match="not of the form hf:owner/repo"):
        catalogue.find(name)


def test_split_models_are_refused() -> None:
    with pytest.raises(ModelError, match="one part of a split model"):
        catalogue.find("hf:a/b/c-00001-of-00003.gguf")


def test_unknown_names_say_what_is_known() -> None:
    with pytest.raises(ModelError, match=r"did you mean 'smollm2-135m'\?.*hf:owner/repo/file.gguf.*\.gguf file"):
        catalogue.find("smollm-135m")


def test_local_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRESTEEL_HOME", str(tmp_path))
    path = tmp_path / "models" / "mine.gguf"
    path.parent.mkdir()
    path.touch()
    assert catalogue.local_file(str(path)) == path
    assert catalogue.local_file("mine.gguf") == path
    assert catalogue.local_file(catalogue.DEFAULT) is None
    assert catalogue.local_file("hf:a/b/c.gguf") is None
    assert catalogue.local_file("nobody-knows") is None
    for missing in ("other.gguf", "./nothing", str(tmp_path / "no" / "file"), f"{'x' * 5000}.gguf"):
        with pytest.raises(ModelError, match="there is no model file at"):
            catalogue.local_file(missing)
