"""CodeShield and Bandit over lines of code, for `benchmarks/guard.py`; runs in an environment that has both.

    python3 -m venv peers && peers/bin/pip install codeshield semgrep==1.78.0 bandit==1.9.4 'setuptools<80'

Reads lines {"id", "language", "text"} and writes lines {"id", "codeshield": [CWE], "codeshield_ms", "bandit": [CWE]}.
Bandit gets the text dedented, since most fragments of methods would not parse otherwise.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import Any

LANGUAGES = {"c": "C", "cpp": "CPP", "java": "JAVA", "javascript": "JAVASCRIPT", "python": "PYTHON", "php": "PHP"}


def bandit(cases: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Return the CWEs that Bandit finds, by id; all cases in one run."""
    with tempfile.TemporaryDirectory() as folder:
        names = {}
        for index, case in enumerate(each for each in cases if each["language"] == "python"):
            path = Path(folder) / f"case{index}.py"
            path.write_text(textwrap.dedent(case["text"]), encoding="utf-8", errors="replace")
            names[str(path)] = case["id"]
        command = [sys.executable, "-m", "bandit", "-q", "-f", "json", "-r", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found: dict[str, list[str]] = {}
        for result in json.loads(done.stdout)["results"]:
            found.setdefault(names[result["filename"]], []).append(f"CWE-{result['issue_cwe']['id']}")
    return found


async def codeshield(case: dict[str, Any]) -> tuple[list[str], float]:
    """Return the CWEs that CodeShield finds in one case, and the milliseconds that it took."""
    from codeshield.cs import CodeShield
    from codeshield.insecure_code_detector.languages import Language

    name = LANGUAGES.get(case["language"])
    if name is None:
        return [], 0.0
    started = time.perf_counter()
    result = await CodeShield.scan_code(case["text"], Language[name])
    spent = (time.perf_counter() - started) * 1000
    return [issue.cwe_id for issue in result.issues_found or []], spent


async def main() -> None:
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # semgrep lies beside Python
    cases = [json.loads(line) for line in sys.stdin if line.strip()]
    by_bandit = bandit(cases)
    for case in cases:
        cwes, spent = await codeshield(case)
        print(
            json.dumps(
                {"id": case["id"], "codeshield": cwes, "codeshield_ms": spent, "bandit": by_bandit.get(case["id"], [])}
            ),
            flush=True,
        )


if __name__ == "__main__":
    asyncio.run(main())
