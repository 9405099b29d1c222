"""The file of keys: changed by several, by root for others, and by nobody where it cannot be."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from firesteel.errors import ConfigError, Unauthorized
from firesteel.service import key_file
from firesteel.service.key_file import KeyFile
from firesteel.service.keyring import Keyring

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "deep" / "keys.json", now=lambda: 1_700_000_000.0)


@AS_ROOT
def test_keys_that_root_makes_belong_to_whom_the_folder_belongs(file: KeyFile) -> None:
    file.path.parent.mkdir()
    os.chown(file.path.parent, 12_345, 12_346)
    for name in ("anna", "bert"):
        file.create(name)
        owners = {(path.stat().st_uid, path.stat().st_gid) for path in file.path.parent.iterdir()}
        assert owners == {(12_345, 12_346)}
    os.chown(file.path, 54_321, 54_321)
    file.revoke("anna")
    assert file.path.stat().st_uid == 54_321


@AS_ROOT
@pytest.mark.parametrize("make_link", [os.symlink, os.link])
@pytest.mark.parametrize("name", ["keys.json", "keys.json.lock"])
def test_root_gives_no_file_away_that_a_link_names(
    tmp_path: Path, file: KeyFile, make_link: Callable[[Path, Path], None], name: str
) -> None:
    victim = tmp_path / "victim"
    victim.write_text('{"keys": []}')
    victim.chmod(0o600)
    file.path.parent.mkdir()
    os.chown(file.path.parent, 12_345, 12_346)
    make_link(victim, file.path.parent / name)
    with suppress(ConfigError):
        file.create("anna")
    assert (victim.stat().st_uid, victim.read_text()) == (0, '{"keys": []}')


@AS_ROOT
def test_root_gives_no_file_away_that_was_put_in_the_place_of_its_own(
    tmp_path: Path, file: KeyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whom the folder belongs exchanges each file for a link as soon as it is there."""
    victim = tmp_path / "victim"
    victim.touch()
    file.path.parent.mkdir()
    os.chown(file.path.parent, 12_345, 12_346)

    def exchanged(change: Callable[..., None]) -> Callable[..., None]:
        def changed(*arguments: Any, **options: Any) -> None:
            for path in file.path.parent.iterdir():
                path.unlink()
                path.symlink_to(victim)
            change(*arguments, **options)

        return changed

    for name in ("chown", "fchown", "lchown"):
        monkeypatch.setattr(os, name, exchanged(getattr(os, name)))
    with suppress(ConfigError):
        file.create("anna")
    assert victim.stat().st_uid == 0


@AS_ROOT
def test_root_gives_no_file_away_in_an_exchanged_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its path leads to root's own one while a file is made, and to another's when it is asked whose it is."""
    own, other, link = tmp_path / "own", tmp_path / "other", tmp_path / "link"
    own.mkdir()
    other.mkdir()
    os.chown(other, 12_345, 12_346)
    link.symlink_to(own)

    def exchanged() -> int:
        link.unlink()
        link.symlink_to(other)
        return 0

    monkeypatch.setattr(os, "geteuid", exchanged)
    with suppress(ConfigError):
        KeyFile(link / "keys.json").create("anna")
    assert {path.stat().st_uid for path in own.iterdir()} <= {0}


def test_a_name_that_is_used_again_means_the_key_that_works(file: KeyFile) -> None:
    old, _ = file.create("anna", expires=1_700_000_060)
    later = KeyFile(file.path, now=lambda: 1_700_000_060.0)
    new, secret = later.create("anna")
    ring = Keyring(later)
    assert ring.identify({"x-api-key": secret}).key == new.id
    assert later.revoke("anna").id == new.id
    with pytest.raises(Unauthorized):
        ring.identify({"x-api-key": secret})
    with pytest.raises(ConfigError, match="keys list"):
        later.revoke("anna")
    assert later.revoke(old.id).id == old.id  # has expired


def test_an_id_goes_before_a_name(file: KeyFile) -> None:
    file.create("one")
    two, _ = file.create("two")
    file.path.write_text(file.path.read_text().replace('"one"', f'"{two.id}"'))
    assert file.revoke(two.id).name == "two"
    assert file.revoke(two.id).name == two.id


@pytest.mark.parametrize("path", ["folder", "file/keys.json", "file/deep/keys.json"])
def test_a_place_where_no_file_can_be_is_said(tmp_path: Path, path: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"folder; name a file, as in .*folder/keys.json|correct --keys"):
        KeyFile(tmp_path / path).create("anna")


def test_a_folder_that_may_not_be_written_is_said(file: KeyFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "mkdir", refused)
    with pytest.raises(ConfigError, match=r"Permission denied.*run this as its owner"):
        file.create("anna")


def test_who_holds_the_lock_for_long_is_not_waited_for(file: KeyFile, monkeypatch: pytest.MonkeyPatch) -> None:
    file.create("anna")
    monkeypatch.setattr(key_file, "LOCK_SECONDS", 0)
    with FileLock(f"{file.path}.lock"), pytest.raises(ConfigError, match=r"keys.json.lock .*end it"):
        file.create("bert")


@pytest.mark.parametrize("models", [("",), ("scripted", " ")])
def test_a_key_that_could_use_nothing_is_not_made(file: KeyFile, models: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="--model"):
        file.create("anna", models=models)
