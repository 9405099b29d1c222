"""What `firesteel keys` and `firesteel usage` print: names as they are, and no secret."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from firesteel.cli.app import app
from firesteel.service.key_file import KeyFile
from firesteel.service.ledger_store import LedgerStore, url_of
from tests.service.test_ledger import row

NAMES = ("[/x]", "[bold]b", "back\\slash\\")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FIRESTEEL_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "240")
    return tmp_path


def said(*arguments: str) -> str:
    """Return what a command prints, on either stream."""
    return CliRunner().invoke(app, arguments).output


def test_names_are_printed_as_they_are(home: Path) -> None:
    keys = [KeyFile(home / "keys.json").create(name, models=(name,))[0] for name in NAMES]
    store = LedgerStore(url_of(str(home / "ledger.db")))
    store.insert([row(number, key=key.id, model=f"{key.name}/model") for number, key in enumerate(keys)])
    store.close()
    listed, used = said("keys", "list"), said("usage", "--by", "key,model")
    for name in NAMES:
        assert listed.count(name) == 2
        assert used.count(name) == 2


@pytest.mark.parametrize("query", ["?sslpassword=s3cret", "?password=s3cret&options=s3cret"])
def test_no_secret_of_the_ledger_is_printed(query: str) -> None:
    text = said("usage", "--ledger", f"postgresql://anna:s3cret@127.0.0.1:1/books{query}")
    assert "the ledger at postgresql+psycopg://127.0.0.1:1/books cannot be read" in text
    assert "s3cret" not in text


def test_keys_and_usage_look_where_the_server_looks(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "firesteel.toml").write_text(f'keys = "{home / "team.json"}"\nledger = "{home / "books.db"}"\n')
    monkeypatch.setenv("FIRESTEEL_CONFIG", str(home / "firesteel.toml"))
    assert f"of anna, in {home / 'team.json'};" in said("keys", "create", "anna")
    (key,) = KeyFile(home / "team.json").load()
    store = LedgerStore(url_of(str(home / "books.db")))
    store.insert([row(1, key=key.id)])
    store.close()
    assert "anna" in said("usage")
    assert "anna" in said("keys", "list")
    monkeypatch.delenv("FIRESTEEL_CONFIG")
    assert "there are no keys" in said("keys", "list")
    assert "anna" in said("keys", "list", "--config", str(home / "firesteel.toml"))
    monkeypatch.setenv("FIRESTEEL_KEYS", str(home / "team.json"))
    assert "revoked" in said("keys", "revoke", "anna")


def test_what_is_wrong_elsewhere_keeps_nobody_from_revoking_a_key(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "firesteel.toml").write_text(f'keys = "{home / "team.json"}"\nprot = 1\nmax_live = "lots"\n')
    monkeypatch.setenv("FIRESTEEL_CONFIG", str(home / "firesteel.toml"))
    monkeypatch.setenv("FIRESTEEL_PORT", "none")
    KeyFile(home / "team.json").create("anna")
    assert "revoked" in said("keys", "revoke", "anna")
    store = LedgerStore(url_of(str(home / "books.db")))
    store.insert([row(1, key="k")])
    store.close()
    (home / "team.json").chmod(0o644)
    used = CliRunner().invoke(app, ["usage", "--ledger", str(home / "books.db"), "--json"])
    assert (used.exit_code, '"requests": 1' in used.stdout) == (0, True)
    assert "keys have no names here" in used.stderr


def test_a_server_without_keys_or_ledger_has_none_to_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRESTEEL_KEYS", "none")
    monkeypatch.setenv("FIRESTEEL_LEDGER", "none")
    created, used = (CliRunner().invoke(app, line) for line in (["keys", "create", "anna"], ["usage"]))
    assert (created.exit_code, used.exit_code) == (1, 1)
    for result in (created, used):
        assert "none" in f"{result.output}{result.exception}"


def test_the_list_says_which_keys_work_and_cuts_no_id(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    file = KeyFile(home / "keys.json", now=lambda: 1_700_000_000.0)
    made = [file.create(name, expires=expires)[0] for name, expires in (("a", None), ("b", 1_700_000_060), ("c", None))]
    made.append(file.create("d", expires=4_000_000_000)[0])
    file.revoke("c")
    lines = {line.split()[1]: line for line in said("keys", "list").splitlines()}
    assert all(key.id in lines[key.name] for key in made)
    states = {"a": "valid", "b": "expired 2023-11-14", "c": "revoked 2023-11-14", "d": "until 2096-10-02"}
    assert all(state in lines[name] for name, state in states.items())
