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
