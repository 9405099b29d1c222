"""Files are written whole or not at all."""

import os
from pathlib import Path

import pytest

from firesteel.atomic import replace_file


@pytest.mark.parametrize("is_synced", [False, True])
def test_a_file_is_replaced_and_only_its_owner_reads_it(tmp_path: Path, is_synced: bool) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o644)
    replace_file(path, b"new", is_synced=is_synced)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_it_is_prepared_before_it_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def prepare(file: int, folder: int) -> None:
        assert (os.fstat(file).st_size, path.read_text()) == (3, "old")
        assert os.path.samestat(os.fstat(folder), tmp_path.stat())
        os.fchmod(file, 0o640)

    replace_file(path, b"new", prepare=prepare)
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("error", [OSError("full"), KeyboardInterrupt()])
def test_what_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise error

    path = tmp_path / "file"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(type(error)):
        replace_file(path, b"new", is_synced=True)
    with pytest.raises(type(error)):
        replace_file(path, b"new", prepare=fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_without_its_folder_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        replace_file(tmp_path / "none" / "file", b"new")
