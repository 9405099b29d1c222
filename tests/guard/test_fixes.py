# ruff: noqa: E501
"""Fixes without a model: each leaves a statement in which the guard finds nothing, and what is out already stays."""

import ast

import pytest

from firesteel.guard.fixes import FIXES, fixed
from firesteel.guard.rules.catalogue import BY_ID
from firesteel.guard.scan import scan

WEB = "from flask import request\ndef f():\n    x = request.args['n']\n"
JS = "app.get('/c', (req, res) => {\n  const x = req.query.x;\n"
CASES = (
    ("FS102", "python", "def f():\n", "    password = ", '"' + "kJ8mP2vQ" + "9xR4tZ" + '"\n', 'environ["PASSWORD"]'),
    ("FS201", "python", "def f(cur, x):\n", "", "    cur.execute(f\"SELECT a FROM t WHERE n = '{x}'\")\n", '"SELECT a FROM t WHERE n = ?", (x,)'),
    ("FS211", "python", "def f(x):\n", "", '    os.system(f"ping -c 1 {x}")\n', 'subprocess.run(["ping", "-c", "1", x], check=True)'),
    ("FS211", "python", "def f(x):\n", "    ", "os.system('ping ' + x)\n", 'subprocess.run(["ping", x], check=True)'),
    ("FS211", "python", "def f(x):\n", "", '    subprocess.run(f"ls {x}", shell=True)\n', 'subprocess.run(["ls", x], check=True)'),
    ("FS211", "javascript", JS, "  child_process.", "exec(`ping ${x}`, done);\n", "execFile('ping', [x], done);"),
    ("FS211", "go", "func f(x string) {\n", "", '\texec.Command("sh", "-c", "ping " + x).Run()\n', 'exec.Command("ping", x)'),
    ("FS221", "python", WEB, "    y = ", "eval(x)\n", '__import__("ast").literal_eval(x)'),
    ("FS221", "javascript", JS, "  const y = ", "eval(x);\n", "JSON.parse(x)"),
    ("FS251", "python", WEB, "    return ", 'f"<p>Hi {x}</p>"\n', "{__import__('html').escape(str(x))}"),
    ("FS252", "javascript", "function f(x) {\n", "  e", ".innerHTML = location.hash;\n", ".textContent = "),
    ("FS301", "python", "def f(x):\n", "", "    return pickle.loads(x)\n", "import json\n    return json.loads(x)"),
    ("FS301", "python", "def f(x):\n", "    return ", "yaml.load(x, Loader=yaml.Loader)\n", "yaml.safe_load(x)"),
    ("FS411", "python", "def f(u):\n", "    return ", "requests.get(u, verify=False)\n", "verify=True"),
    ("FS421", "javascript", "function token() {\n", "  return ", "Math.random();\n", "randomBytes(24)"),
    ("FS501", "python", "def f():\n", "    name = ", "tempfile.mktemp()\n", "tempfile.mkstemp()[1]"),
    ("FS511", "python", "", "app.run(", "debug=True)\n", "debug=False"),
    ("FS601", "c", "void f(char *x) {\n  char b[9];\n", "  ", "strcpy(b, x);\n", 'snprintf(b, sizeof b, "%s", x);'),
)  # fmt: skip


@pytest.mark.parametrize(("rule", "language", "before", "begun", "rest", "good"), CASES)
def test_a_fix_is_found_and_holds(
    rule: str, language: str, before: str, begun: str, rest: str, good: str | None
) -> None:
    assert rule in {each.rule for each in scan(before + begun + rest, language)}
    text = fixed(begun, rest, before, language, [rule])
    assert text is not None
    assert good is None or good in text
    assert rule not in {each.rule for each in scan(before + begun + text, language)}
    if language == "python":
        ast.parse(before + begun + text if before or not begun.startswith(" ") else (begun + text).strip())


def test_what_is_out_already_is_not_written_again() -> None:
    assert fixed("  e.innerHTML", " = location.hash;\n", "function f() {\n", "javascript", ["FS252"]) is None


def test_what_no_fix_is_known_for_is_left_to_the_model() -> None:
    assert fixed("", "    cur.execute(make(x))\n", "def f(cur, x):\n", "python", ["FS201"]) is None


def test_every_fix_is_for_a_rule() -> None:
    assert {rule for rule, *_ in FIXES} <= set(BY_ID)
