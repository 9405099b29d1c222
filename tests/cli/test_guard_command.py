"""`firesteel guard`: what people, scripts and evaluations get from it, and its exit status."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from firesteel.cli import guard
from firesteel.guard import canary

BAD = 'def f(x):\n    y = 1\n    os.system("ls " + x)\n'
GOOD = 'def f(x):\n    subprocess.run(["ls", x], check=True)\n'


def run(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
    done = CliRunner().invoke(guard.app, list(arguments), input=stdin)
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "bad.py").write_text(BAD)
    (tmp_path / "good.py").write_text(GOOD)
    (tmp_path / "data.bin").write_bytes(b"\0\1" + BAD.encode())
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "x.py").write_text(BAD)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_people_get_place_excerpt_and_the_right_way(folder: Path) -> None:
    status, out, err = run("scan", ".")
    assert status == 1
    assert "bad.py:3:5: FS211 critical CWE-78" in out
    assert '     3 |     os.system("ls " + x)' in out
    assert "^" * len('os.system("ls " + x)') in out
    assert "= pass a list of arguments" in out
    assert err.strip() == "1 finding in 2 files"


def test_clean_files_pass(folder: Path) -> None:
    assert run("scan", "good.py") == (0, "", "0 findings in 1 file\n")


@pytest.mark.parametrize(("level", "status"), [("observe", 1), ("rewrite", 1), ("block", 0), ("never", 0)])
def test_fail_on_decides_the_exit_status(folder: Path, level: str, status: int) -> None:
    assert run("scan", "bad.py", "--fail-on", level)[0] == status


def test_json_holds_everything(folder: Path) -> None:
    document = json.loads(run("scan", "--json", "bad.py")[1])
    (finding,) = document["findings"]
    assert document["files"] == 1
    assert (finding["path"], finding["line"], finding["column"], finding["end_column"]) == ("bad.py", 3, 5, 25)
    assert BAD[finding["start"] : finding["end"]] == 'os.system("ls " + x)'
    assert finding["excerpt"] == '    os.system("ls " + x)'


def test_sarif_is_of_its_version(folder: Path) -> None:
    log = json.loads(run("scan", "--sarif", ".")[1])
    assert log["version"] == "2.1.0"
    (only,) = log["runs"]
    (result,) = only["results"]
    rules = only["tool"]["driver"]["rules"]
    assert rules[result["ruleIndex"]]["id"] == result["ruleId"] == "FS211"
    region = result["locations"][0]["physicalLocation"]["region"]
    assert (region["startLine"], region["startColumn"], region["endLine"], region["endColumn"]) == (3, 5, 3, 25)
    assert only["columnKind"] == "unicodeCodePoints"


def test_places_in_sarif_are_addresses(folder: Path) -> None:
    (folder / "a b%.py").write_text(BAD)
    log = json.loads(run("scan", "--sarif", "a b%.py")[1])
    place = log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "a%20b%25.py"


def test_jsonl_answers_line_by_line() -> None:
    cases: list[dict[str, Any]] = [
        {"id": 7, "language": "python", "text": BAD},
        {"id": "b", "language": "cobol", "text": "MOVE A TO B."},
        {"id": None, "language": None, "text": f"```python\n{BAD}```\n"},
    ]
    status, out, _ = run("scan", "--jsonl", stdin="\n".join(map(json.dumps, cases)))
    assert status == 0
    first, second, third = map(json.loads, out.splitlines())
    (finding,) = first["findings"]
    assert (first["id"], finding["rule"], finding["cwe"], finding["action"]) == (7, "FS211", "CWE-78", "rewrite")
    assert set(finding) == {"rule", "cwe", "severity", "action", "start", "end", "decided_at"}
    assert finding["start"] < finding["end"] <= finding["decided_at"] <= len(BAD)
    assert second == {"id": "b", "findings": []}
    assert [each["rule"] for each in third["findings"]] == ["FS211"]


@pytest.mark.parametrize("line", ["{", '{"id": 1}', '{"id": 1, "text": 2}', "[]", '{"text": "", "language": 3}'])
def test_a_bad_line_is_named(line: str) -> None:
    status, _, err = run("scan", "--jsonl", stdin='{"id": 1, "text": ""}\n' + line)
    assert status == 2
    assert "-:2: expected" in err


def test_standard_input_needs_no_file() -> None:
    status, out, _ = run("scan", "-", "-l", "py", stdin=BAD)
    assert status == 1
    assert out.startswith("<stdin>:3:5")


def test_comments_and_settings_silence(folder: Path) -> None:
    (folder / "bad.py").write_text(BAD.replace("+ x)", "+ x)  # firesteel: ignore[FS211] on purpose"))
    assert run("scan", "bad.py")[0] == 0
    (folder / "bad.py").write_text(BAD.replace("    os", "    # firesteel: ignore\n    os"))
    assert run("scan", "bad.py")[0] == 0
    (folder / "bad.py").write_text(BAD.replace("+ x)", "+ x)  # firesteel: ignore[FS201]"))
    assert run("scan", "bad.py")[0] == 1
    assert run("scan", "bad.py", "--action", "FS211=observe")[0] == 0
    assert run("scan", "bad.py", "--ignore", "*.py")[0] == 0


def test_a_diff_reports_added_lines_only(folder: Path) -> None:
    diff = "--- a/bad.py\n+++ b/bad.py\n@@ -2,0 +2,1 @@\n+    y = 1\n"
    assert run("scan", "--diff", "-", stdin=diff)[0] == 0
    assert run("scan", "--diff", "-", stdin=diff.replace("+2,1 @@", "+3,1 @@"))[0] == 1


def test_git_says_what_changed(folder: Path) -> None:
    def git(*arguments: str) -> None:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        subprocess.run(command, check=True, cwd=folder, capture_output=True)

    status, _, err = run("scan", "--diff")
    assert status == 2
    assert "git says" in err
    git("init", "-q")
    git("add", "bad.py")
    git("commit", "-q", "-m", "first")
    assert run("scan", "--diff")[0] == 0
    (folder / "bad.py").write_text(BAD + '    os.system("cat " + x)\n')
    status, out, _ = run("scan", "--diff", "--json")
    assert status == 1
    assert [each["line"] for each in json.loads(out)["findings"]] == [4]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nothing to scan"),
        (("missing.py",), "no such file"),
        (("--json", "--sarif", "."), "exclude one another"),
        (("--action", "FS211", "."), "write RULE=ACTION"),
        (("--action", "XX=warn", "."), "no rule begins with"),
    ],
)
def test_bad_options_are_explained(arguments: tuple[str, ...], message: str) -> None:
    status, _, err = run("scan", *arguments)
    assert status == 2
    assert message in err


def test_a_broken_guard_does_not_look_like_a_calm_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "missed", lambda: ("FS211",))
    status, _, err = run("scan", "-", stdin=GOOD)
    assert status == 2
    assert "misses its own examples (FS211)" in err


def test_rules_are_listed_and_shown() -> None:
    status, out, _ = run("rules")
    assert status == 0
    assert any(line.startswith("FS201  CWE-89") for line in out.splitlines())
    shown = run("rules", "FS201")[1]
    assert "bad (python):" in shown
    assert "good (go):" in shown
    (only,) = json.loads(run("rules", "FS201", "--json")[1])
    assert only["id"] == "FS201"
    assert run("rules", "FS999")[0] == 2
