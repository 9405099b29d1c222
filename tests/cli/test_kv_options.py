"""--kv-type, --yarn and --context reach the backend from every command that loads a model."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from firesteel.cli.app import app
from tests.backend import tiny_models


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(tiny_models.transformer(tmp_path / "tiny.gguf"))


def commands(tmp_path: Path) -> list[list[str]]:
    (tmp_path / "a.py").write_text("x = 1\n")
    return [["run", "hello"], ["complete", f"{tmp_path}/a.py:1"]]


def test_a_context_beyond_the_model_names_the_remedy(model: str, tmp_path: Path) -> None:
    for command in commands(tmp_path):
        result = CliRunner().invoke(app, [*command, "-m", model, "--context", "5000"])
        assert result.exit_code == 1
        assert "2048 tokens that the model documents" in result.stderr
        assert "--yarn 3" in result.stderr


def test_the_options_reach_the_backend(model: str, tmp_path: Path) -> None:
    for command in commands(tmp_path):
        options = ["--context", "4096", "--yarn", "2", "--kv-type", "q8_0"]
        refused = CliRunner().invoke(app, [*command, "--backend", "scripted", *options])
        assert "--kv-type and --yarn need a real model" in refused.stderr
    result = CliRunner().invoke(app, ["run", "hello", "-m", model, "--max-tokens", "3", "--threads", "1", *options])
    assert result.exit_code == 0, result.output
    assert "3 tokens" in result.stderr
