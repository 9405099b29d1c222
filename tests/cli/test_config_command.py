"""`firesteel config show` tells each setting's value and who said it."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from firesteel.cli.app import app
from firesteel.settings.table import SETTINGS


@pytest.fixture(autouse=True)
def a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FIRESTEEL_MAX_QUEUE", "7")
    monkeypatch.delenv("FIRESTEEL_API_KEY", raising=False)
    (tmp_path / "firesteel.toml").write_text('port = 9000\nmax_queue = 3\nhost = "::1"\napi_key = ["s3cret"]\n')


def show(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["config", "show", "--json", *arguments])
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_every_setting_has_a_value_and_a_source() -> None:
    document = show("--host", "127.0.0.1", "--no-accept-any-model")
    settings = document["settings"]
    assert list(settings) == list(SETTINGS)
    assert document["file"] == "firesteel.toml"
    assert settings["port"] == {"value": 9000, "from": "file", "where": "firesteel.toml"}
    assert settings["max_queue"] == {"value": 7, "from": "environment", "where": "FIRESTEEL_MAX_QUEUE"}
    assert settings["host"] == {"value": "127.0.0.1", "from": "flag", "where": "--host"}
    assert settings["accept_any_model"] == {"value": False, "from": "flag", "where": "--accept-any-model"}
    assert settings["grace"] == {"value": 10.0, "from": "default", "where": None}
    assert settings["api_key"]["value"] == "<1 hidden>"


def test_the_table_shows_the_same_and_no_secret() -> None:
    result = CliRunner().invoke(app, ["config", "show"])
    lines = {line.split()[0]: line.split() for line in result.stdout.splitlines()}
    assert list(lines) == list(SETTINGS)
    assert lines["port"][1:] == ["9000", "firesteel.toml"]
    assert "s3cret" not in result.output
    assert "chmod 600" in result.stderr


def test_what_cannot_be_is_one_line_and_a_status() -> None:
    Path("firesteel.toml").write_text("prot = 1")
    for command in (["config", "show"], ["serve"]):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 1
        assert result.stderr == "error: firesteel.toml: there is no setting `prot`; did you mean `port`?\n"


def test_a_flag_out_of_its_limits_is_refused_by_name() -> None:
    result = CliRunner().invoke(app, ["config", "show", "--port", "70000"])
    assert result.exit_code == 2
    assert "--port" in result.stderr


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("ledger", "a-folder", "`ledger`: a-folder is a folder; name a file in it"),
        ("ledger", "text", "`ledger`: text is no SQLite database"),
        ("ledger", "text/ledger.db", "`ledger`: text/ledger.db cannot be a file"),
        ("ledger", "mysql://x/y", "cannot be kept in mysql"),
        ("response_store", "a-folder", "`response_store`: a-folder is a folder"),
        ("response_store", "text/x.db", "`response_store`: text/x.db cannot be a file"),
        ("limit_store", "foo", "redis://"),
        ("guard_actions", "FS999=block", "FS999"),
        ("tls_cert", "none.pem", "`tls.key` is missing"),
    ],
)
def test_what_could_not_be_served_is_shown_and_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, problem: str
) -> None:
    (tmp_path / "a-folder").mkdir()
    (tmp_path / "text").write_text("no database")
    monkeypatch.setenv(f"FIRESTEEL_{name.upper()}", value)
    result = CliRunner().invoke(app, ["config", "show"])
    assert result.exit_code != 0
    said = f"{result.output}{result.exception}"
    assert problem in said
    assert "max_queue" in result.stdout
    assert not list(tmp_path.glob("*.db"))


def test_databases_that_are_there_or_may_come_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sqlite3.connect(tmp_path / "old.db").execute("CREATE TABLE x (y)").connection.close()
    (tmp_path / "empty.db").touch()
    for place in ("old.db", "empty.db", "deep/new.db", str(tmp_path / "a" / "b.db"), "none"):
        monkeypatch.setenv("FIRESTEEL_LEDGER", place)
        monkeypatch.setenv("FIRESTEEL_RESPONSE_STORE", place)
        assert CliRunner().invoke(app, ["config", "show"]).exit_code == 0
    assert not (tmp_path / "deep").exists()


def test_the_home_is_looked_at_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRESTEEL_HOME", str(tmp_path))
    (tmp_path / "responses.db").mkdir()
    result = CliRunner().invoke(app, ["config", "show"])
    assert result.exit_code != 0
    assert "`response_store`" in f"{result.output}{result.exception}"


def test_a_key_file_at_fault_hides_no_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "k.json").write_text('{"keys": []}')
    (tmp_path / "k.json").chmod(0o644)
    monkeypatch.setenv("FIRESTEEL_KEYS", str(tmp_path / "k.json"))
    result = CliRunner().invoke(app, ["config", "show"])
    assert result.exit_code != 0
    assert "max_queue" in result.stdout


def test_a_server_that_knows_no_key_says_so(tmp_path: Path) -> None:
    (tmp_path / "firesteel.toml").write_text('keys = "typo.json"\n')
    result = CliRunner().invoke(app, ["config", "show"])
    assert result.exit_code == 0
    assert "there is no key file typo.json yet" in result.stderr
    assert "whoever reaches 127.0.0.1:8080 may ask" in result.stderr


def test_an_address_is_hidden_only_where_it_may_hold_a_password(tmp_path: Path) -> None:
    places = {"ledger": '"/srv/ledger.db"', "limit_store": '"redis://:s3cret@127.0.0.1:6379/0"'}
    (tmp_path / "firesteel.toml").write_text("".join(f"{name} = {place}\n" for name, place in places.items()))
    settings = show()["settings"]
    assert settings["ledger"]["value"] == "/srv/ledger.db"
    assert settings["limit_store"]["value"] == "<hidden>"
    (tmp_path / "firesteel.toml").write_text('ledger = "/srv/ledger.db"\n')
    result = CliRunner().invoke(app, ["config", "show"])
    assert "/srv/ledger.db" in result.stdout
    assert "chmod" not in result.stderr
