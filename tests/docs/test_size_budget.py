"""Above 300 lines a file is two files; above 40 lines a function is two functions."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("src", "tests", "scripts", "benchmarks")
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 40

FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def long_functions(source: str) -> list[str]:
    """Return the functions of `source` that are above the budget, with their lengths; decorators count."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            lines = (node.end_lineno or first) - first + 1
            if lines > MAX_FUNCTION_LINES:
                found.append(f"{node.name}: {lines} lines")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_file_keeps_the_budget(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= MAX_FILE_LINES
    assert not long_functions(source)


def test_the_budget_notices_a_long_function() -> None:
    body = "    pass\n"
    assert long_functions("def short():\n" + body * (MAX_FUNCTION_LINES - 1)) == []
    assert long_functions("def long():\n" + body * MAX_FUNCTION_LINES) == ["long: 41 lines"]
