"""Reading scripts: what is right is taken, what is wrong is named with its place and its remedy."""

from pathlib import Path

import pytest

from firesteel.backend.scripted import Rule, Script, ScriptedBackend, load_script, parse_script
from firesteel.clock import ManualClock
from firesteel.config import EngineConfig
from firesteel.errors import ConfigError


def test_a_script_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    path.write_text('{"tokens_per_step": 4, "rules": [{"match": "hi", "say": "Hello.", "step_ms": 2.5}]}')
    assert load_script(path) == Script(tokens_per_step=4, rules=(Rule(match="hi", say="Hello.", step_ms=2.5),))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('{"tokens_per_stp": 4}', "tokens_per_stp"),
        ('{"rules": [{"mach": "a"}]}', "`mach`.*rules"),
        ('{"rules": [{"match": "("}]}', r"rules\[0\].match"),
        ('{"rules": [{}, {"mode": "hash", "say": "a"}]}', r"rules\[1\].say"),
        ('{"rules": [{"stall_at": 3}]}', "stall_at and stall_ms"),
        ('{"rules": [{"stall_ms": 3}]}', "stall_at and stall_ms"),
        ('{"tokens_per_step": 0}', "tokens_per_step"),
        ('{"step_ms": -1}', "step_ms"),
        ('{"rules": [{"fail_at": "x"}]}', "fail_at"),
        ('{"rules": [{"mode": "loud"}]}', "mode"),
        ('{"rules": ', "truncated"),
        ("[]", "object"),
        ("\xff", "JSON"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "wrong.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=named) as error:
        load_script(path)
    assert str(path) in error.value.message
    assert any(remedy in error.value.message for remedy in ("Correct", "correct", "Remove", "Set both"))


def test_a_script_that_cannot_be_read_is_an_error_with_its_path(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.json", tmp_path):
        with pytest.raises(ConfigError, match="--script") as error:
            load_script(path)
        assert str(path) in error.value.message


def test_the_backend_reads_the_script_of_its_configuration(tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    path.write_text("{")
    with pytest.raises(ConfigError, match="truncated"):
        ScriptedBackend(None, EngineConfig(script=str(path)), ManualClock())


def test_the_documented_example_is_a_valid_script_and_every_key_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/script.md").read_text()
    example = page.partition("```json\n")[2].partition("```")[0]
    script = parse_script(example)
    assert script.rules
    for field in {*Script.__struct_fields__, *Rule.__struct_fields__}:
        assert f"| `{field}`" in page, field
