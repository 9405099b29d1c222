"""Keys: kept as hashes only, told apart, refused when they are wrong, too narrow or revoked."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firesteel.errors import ConfigError, Forbidden, Unauthorized
from firesteel.service.key_file import SCOPES, KeyFile, hash_of, id_of
from firesteel.service.keyring import Caller, Keyring

KEYS = ("s3cret-one", "s3cret-two")
WORDS = st.text(st.characters(codec="utf-8", exclude_characters=", \t\r\n"), min_size=1)


def bearer(key: str) -> dict[str, str]:
    return {"authorization": b"Bearer ".decode() + key.encode().decode("latin-1")}


@settings(deadline=None)
@given(st.lists(WORDS, min_size=1))
def test_each_key_of_the_environment_has_a_scope_of_its_own(keys: list[str]) -> None:
    keys = [key for key in keys if key == key.strip()]
    ring = Keyring(None, tuple(keys))
    scopes = {key: ring.identify(bearer(key)).scope for key in keys}
    assert len(set(scopes.values())) == len(scopes)
    assert not [key for key, scope in scopes.items() if len(key) > 4 and key in scope]
    assert all(scopes.values())


@pytest.mark.parametrize("sent", [None, "Bearer", "Bearer wrong", "Basic s3cret-one", "s3cret-one", "Bearer \xff"])
def test_other_keys_are_refused(sent: str | None) -> None:
    with pytest.raises(Unauthorized) as caught:
        Keyring(None, KEYS).identify({} if sent is None else {"authorization": sent})
    assert not [key for key in KEYS if key in caught.value.message]


def test_without_keys_there_is_one_scope() -> None:
    ring = Keyring(None)
    assert ring.identify(bearer("any")) == ring.identify({}) == Caller()


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "deep" / "keys.json", now=lambda: 1_700_000_000.0)


def test_a_key_is_known_and_stands_nowhere(file: KeyFile) -> None:
    key, secret = file.create("anna", models=("scripted",), tokens_per_minute=7)
    assert id_of(secret) == key.id
    assert key.hash == hash_of(secret)
    behind_a_proxy = {"authorization": "Basic dTpw", "x-api-key": secret}
    for header in ({"authorization": f"bearer {secret}"}, {"x-api-key": secret}, behind_a_proxy):
        caller = Keyring(file).identify(header)
        assert (caller.key, caller.models, caller.tokens_per_minute) == (key.id, ("scripted",), 7)
    part = secret.split("-", 2)[2]
    assert not [path for path in file.path.parent.iterdir() if part in path.read_text()]


def test_only_the_owner_may_read_the_file(file: KeyFile) -> None:
    file.create("anna")
    assert {path.stat().st_mode & 0o777 for path in file.path.parent.iterdir()} == {0o600}
    file.path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        file.load()


@settings(deadline=None)
@given(data=st.data())
def test_no_other_text_is_taken_for_a_key(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Above all none that shares its public part, or all but a character of it."""
    file = KeyFile(tmp_path_factory.mktemp("keys") / "keys.json")
    _, secret = file.create("anna")
    place = data.draw(st.integers(0, len(secret) - 1))
    other = data.draw(st.characters(max_codepoint=255).filter(lambda character: character != secret[place]))
    ring = Keyring(file)
    for wrong in (secret[:place] + other + secret[place + 1 :], secret[:place], secret + "x"):
        if wrong.strip(" \t") != secret:
            with pytest.raises(Unauthorized):
                ring.identify({"x-api-key": wrong})


def test_a_revoked_key_ends_with_the_next_request_and_the_server_stays_closed(file: KeyFile) -> None:
    ring = Keyring(file)
    assert ring.is_open
    _, secret = file.create("anna")
    with pytest.raises(Unauthorized):
        ring.identify({})
    assert ring.identify({"x-api-key": secret}).key
    file.revoke("anna")
    for headers in ({"x-api-key": secret}, {}):
        with pytest.raises(Unauthorized):
            ring.identify(headers)
    file.path.unlink()
    with pytest.raises(Unauthorized):
        ring.identify({})
    file.create("anna")  # the name is free again


def test_a_key_ends_when_it_expires_and_its_name_is_free(file: KeyFile) -> None:
    seconds = 1_700_000_000.0
    key, secret = file.create("anna", expires=1_700_000_060)
    ring = Keyring(file, now=lambda: seconds)
    assert ring.identify({"x-api-key": secret}).key == key.id
    seconds += 60
    with pytest.raises(Unauthorized, match="has expired") as caught:
        ring.identify({"x-api-key": secret})
    assert caught.value.code == "expired_api_key"
    with pytest.raises(Unauthorized) as caught:
        ring.identify({"x-api-key": secret[:-1]})  # who does not hold it is not told that it was one
    assert caught.value.code == "invalid_api_key"
    with pytest.raises(ConfigError, match="revoke it first"):
        file.create("anna")
    KeyFile(file.path, now=lambda: seconds).create("anna")


def test_a_key_that_would_have_ended_already_is_not_made(file: KeyFile) -> None:
    with pytest.raises(ConfigError, match="future"):
        file.create("anna", expires=1_700_000_000)


def test_a_damaged_file_leaves_the_keys_as_they_were(file: KeyFile, caplog: pytest.LogCaptureFixture) -> None:
    _, secret = file.create("anna")
    ring = Keyring(file)
    file.path.write_text("{")
    assert ring.identify({"x-api-key": secret}).key
    assert "stay as they were" in caplog.text
    assert secret not in caplog.text
    with pytest.raises(ConfigError, match="repair or remove"):
        Keyring(file)


def test_a_file_that_can_be_read_again_is_read(file: KeyFile) -> None:
    """What is in it stays the same, and so do its time and size."""
    file.create("anna")
    ring = Keyring(file)
    _, secret = file.create("bert")
    file.path.chmod(0o644)
    with pytest.raises(Unauthorized):
        ring.identify({"x-api-key": secret})
    file.path.chmod(0o600)
    assert ring.identify({"x-api-key": secret}).key


def test_names_are_taken_once_and_ids_never_again(file: KeyFile) -> None:
    first, _ = file.create("anna")
    with pytest.raises(ConfigError, match="revoke it first"):
        file.create("anna")
    for name in ("", " ", "a\nb", "x" * 65):
        with pytest.raises(ConfigError, match="no name"):
            file.create(name)
    assert file.revoke(first.id).revoked == 1_700_000_000
    with pytest.raises(ConfigError, match="keys list"):
        file.revoke(first.id)
    second, _ = file.create("anna")
    assert [key.id for key in file.load()] == [first.id, second.id]


@pytest.mark.parametrize("scope", SCOPES)
def test_a_key_does_what_its_scopes_say(scope: str) -> None:
    caller = Caller(scopes=tuple(other for other in SCOPES if other == scope))
    allowed = {scope, "models"} if scope == "generate" else {scope}
    for needed in SCOPES:
        if needed in allowed:
            caller.check(needed)
        else:
            with pytest.raises(Forbidden, match=f"--scope {needed}"):
                caller.check(needed)


def test_a_file_that_others_may_not_write_is_replaced_whole(file: KeyFile) -> None:
    file.create("anna")
    before = os.stat(file.path).st_ino
    file.create("bert")
    assert os.stat(file.path).st_ino != before
    assert [key.name for key in file.load()] == ["anna", "bert"]
