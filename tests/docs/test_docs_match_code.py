"""Documentation that contradicts the code, or is silent about a part of it, fails here."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "firesteel"
REFERENCE = ROOT / "docs" / "reference"
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
HIDDEN_FOLDERS = {".venv", ".git", "node_modules", "build", "dist"}


def reference() -> str:
    """Return all reference pages as one text."""
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(REFERENCE.glob("*.md")))


def names_in_source(pattern: str) -> set[str]:
    return {name for path in SOURCE.rglob("*.py") for name in re.findall(pattern, path.read_text())}


def pages() -> list[Path]:
    found = (path for path in ROOT.rglob("*.md") if not HIDDEN_FOLDERS & set(path.relative_to(ROOT).parts))
    return sorted(found)


def anchors(page: Path) -> Iterator[str]:
    """Yield the fragment of each heading, as GitHub makes it."""
    for heading in re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def test_command_line_page_is_generated_from_the_commands() -> None:
    script = ROOT / "scripts" / "generate_cli_docs.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_rules_page_is_generated_from_the_rules() -> None:
    script = ROOT / "scripts" / "generate_rule_docs.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_configuration_page_is_generated_from_the_table_of_settings() -> None:
    script = ROOT / "scripts" / "generate_settings_docs.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_endpoint_is_documented() -> None:
    from firesteel.server.app import routes

    paths = [re.sub(r":\w+}", "}", route.path) for route in routes()]  # {model:path} is written {model}
    assert "/v1/chat/completions" in paths
    assert not [path for path in paths if path not in reference()]


def test_every_environment_variable_is_documented() -> None:
    names = names_in_source(r"\b((?:FIRESTEEL|HF)_[A-Z_]*[A-Z])\b")
    assert "FIRESTEEL_HOME" in names
    assert not {name for name in names if f"`{name}`" not in reference()}


def test_every_metric_is_documented() -> None:
    from firesteel.engine.statistics import Statistics

    names = names_in_source(r"[\"'](firesteel_[a-z_]*[a-z])[\"']") | set(Statistics.__struct_fields__)
    assert "firesteel_ttft_seconds" in names
    assert not {name for name in names if f"`{name}`" not in reference()}


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_inside_the_repository_resolve(page: Path) -> None:
    broken = []
    for target in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, fragment = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists() or (fragment and fragment not in set(anchors(path))):
            broken.append(target)
    assert not broken


def test_architecture_names_every_package() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    folders = [path.parent for path in SOURCE.rglob("__init__.py") if path.parent != SOURCE]
    assert not [str(folder.relative_to(SOURCE)) for folder in folders if f"{folder.name}/" not in text]


def test_every_decision_has_a_number_of_its_own_and_is_listed() -> None:
    """Branches that are written side by side have ranges of numbers, so there may be gaps."""
    names = [path.name for path in (ROOT / "docs" / "decisions").glob("[0-9]*.md")]
    assert len({name[:4] for name in names}) == len(names)
    listed = (ROOT / "docs" / "decisions" / "README.md").read_text(encoding="utf-8")
    assert [name for name in names if f"({name})" not in listed] == []
