import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from firesteel.cli.app import app
from firesteel.cli.setup.clients import CLIENTS, Target, codex_catalogue, plan_of
from tests.server.live import Live

URL = "http://127.0.0.1:9"  # nobody listens on the discard port
NAMED = ("--url", URL, "--model", "m", "--context", "32768")
VARIABLES = ("CODEX_HOME", "CLAUDE_CONFIG_DIR", "CONTINUE_GLOBAL_DIR", "LLM_USER_PATH", "XDG_CONFIG_HOME")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("FIRESTEEL_HOME", str(tmp_path / "firesteel"))
    monkeypatch.delenv("FIRESTEEL_API_KEY", raising=False)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def setup(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["setup", *arguments])


def files_in(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("client", CLIENTS)
def test_every_client_is_pointed_here(client: str, home: Path) -> None:
    result = setup(client, *NAMED)
    assert result.exit_code == 0, result.output
    written = files_in(home)
    assert any(URL in text for text in written.values())
    for name, text in written.items():
        if name.endswith(".json"):
            json.loads(text)
        elif name.endswith(".toml"):
            tomllib.loads(text)
        elif name.endswith((".yml", ".yaml")):
            YAML().load(text)
    again = setup(client, *NAMED)
    assert again.exit_code == 0
    assert again.output.count("already says so") == len(written)
    assert files_in(home) == written


@pytest.mark.parametrize("client", CLIENTS)
def test_printing_changes_nothing(client: str, home: Path) -> None:
    result = setup(client, *NAMED, "--print")
    assert result.exit_code == 0
    assert URL in result.stdout
    assert files_in(home) == {}


def test_an_existing_file_is_changed_with_a_yes_only(home: Path) -> None:
    path = home / ".codex" / "config.toml"
    path.parent.mkdir()
    path.write_text('model = "mine"\n')
    refused = setup("codex", *NAMED)
    assert refused.exit_code == 1
    assert "--yes" in refused.output
    assert '-model = "mine"' in refused.output
    assert path.read_text() == 'model = "mine"\n'
    assert setup("codex", *NAMED, "--yes").exit_code == 0
    assert tomllib.loads(path.read_text())["model"] == "m"
    (backup,) = path.parent.glob("config.toml.*.bak")
    assert backup.read_text() == 'model = "mine"\n'


def test_a_terminal_is_asked(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = home / ".codex" / "config.toml"
    path.parent.mkdir()
    path.write_text('model = "mine"\n')
    monkeypatch.setattr("firesteel.cli.setup.command._is_terminal", lambda: True)
    said_no = CliRunner().invoke(app, ["setup", "codex", *NAMED], input="n\n")
    assert said_no.exit_code == 1
    assert path.read_text() == 'model = "mine"\n'
    assert CliRunner().invoke(app, ["setup", "codex", *NAMED], input="y\n").exit_code == 0
    assert tomllib.loads(path.read_text())["model"] == "m"


def test_codex_gets_a_catalogue_with_a_short_prompt(home: Path) -> None:
    assert setup("codex", *NAMED).exit_code == 0
    config = tomllib.loads((home / ".codex" / "config.toml").read_text())
    (entry,) = json.loads(Path(config["model_catalog_json"]).read_text())["models"]
    assert entry["slug"] == config["model"] == "m"
    assert entry["context_window"] == 32768
    assert entry["use_responses_lite"] is True
    assert entry["apply_patch_tool_type"] == "freeform"
    assert len(entry["base_instructions"]) < 100
    provider = config["model_providers"]["firesteel"]
    assert provider["supports_websockets"] is True
    assert "env_key" not in provider


def test_a_small_context_leaves_room_for_what_tools_say() -> None:
    (entry,) = codex_catalogue(Target(url=URL, model="m", context=8192))["models"]
    assert entry["truncation_policy"]["limit"] == 2048


def test_the_key_of_the_environment_is_used(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRESTEEL_API_KEY", "first,second")
    assert setup("claude", *NAMED).exit_code == 0
    assert json.loads((home / ".claude" / "settings.json").read_text())["env"]["ANTHROPIC_AUTH_TOKEN"] == "first"
    assert setup("codex", *NAMED).exit_code == 0
    text = (home / ".codex" / "config.toml").read_text()
    assert 'env_key = "FIRESTEEL_API_KEY"' in text
    assert "first" not in text


def test_a_running_server_is_asked(home: Path, server: Live) -> None:
    result = setup("opencode", "--url", f"{server.url}/v1/", "--print")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["model"] == "firesteel/scripted"
    assert document["provider"]["firesteel"]["models"]["scripted"]["limit"]["context"] == 131072


def test_without_a_server_defaults_are_assumed_aloud(home: Path) -> None:
    result = setup("aider", "--url", URL, "--print")
    assert result.exit_code == 0
    assert "nobody answers" in result.stderr
    assert "openai/qwen2.5-coder-0.5b" in result.stdout


@pytest.mark.parametrize("arguments", [("emacs",), ("codex", "--url", "localhost:8080"), ("codex", "--context", "5")])
def test_bad_arguments(home: Path, arguments: tuple[str, ...]) -> None:
    assert setup(*arguments).exit_code != 0
    assert files_in(home) == {}


def test_folders_that_clients_let_one_move(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target(url=URL, model="m", context=8192)
    for client, name in [
        ("codex", "CODEX_HOME"),
        ("claude", "CLAUDE_CONFIG_DIR"),
        ("continue", "CONTINUE_GLOBAL_DIR"),
        ("llm", "LLM_USER_PATH"),
        ("opencode", "XDG_CONFIG_HOME"),
        ("zed", "XDG_CONFIG_HOME"),
        ("nvim", "XDG_CONFIG_HOME"),
    ]:
        monkeypatch.setenv(name, "/elsewhere")
        assert all(str(s.path).startswith("/elsewhere/") for s in plan_of(client, target).settings)
