"""Where `scripts/install-clients.sh` puts real clients, and how a test runs one."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.server.live import firesteel

CLIENT_SECONDS = 90.0  # node and Python start slowly where five people share two cores
MISSING: set[str] = set()  # what this run had to skip; conftest.py says so at the end

_EXECUTABLES = {
    "aider": "bin/aider",
    "claude": "node_modules/@anthropic-ai/claude-code-linux-*/claude",
    "cn": "node_modules/.bin/cn",
    "codex": "node_modules/.bin/codex",
    "copilot": "node_modules/.bin/copilot",
    "llm": "bin/llm",
    "llm-comply": "bin/llm-comply",
    "nvim": "bin/nvim",
    "openai-js": "node_modules/openai/index.mjs",
    "opencode": "node_modules/.bin/opencode",
}


def folder() -> Path:
    """Return the folder of all clients."""
    return Path(os.environ.get("FIRESTEEL_CLIENTS") or Path.home() / ".cache" / "firesteel" / "clients")


def client(name: str) -> str:
    """Return the path of a client; skips the test, loudly, when it is not installed."""
    found = sorted(folder().joinpath(name).glob(_EXECUTABLES[name]))
    if not found:
        MISSING.add(name)
        pytest.skip(f"{name} is not installed: scripts/install-clients.sh {name}")
    return str(found[0])


class User:
    """Somebody with an empty home who has run `firesteel setup`."""

    def __init__(self, home: Path, url: str) -> None:
        self.home = home
        self.project = home / "project"
        self.project.mkdir(parents=True)
        self._url = url

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every process: nothing of the developer's own but where programs are."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
        return {**kept, "HOME": str(self.home), "FIRESTEEL_HOME": str(self.home / "firesteel"), "NO_COLOR": "1"}

    def setup(self, name: str) -> None:
        """Point a client at the server, as a user does."""
        self.run(*firesteel("setup", name, "--url", self._url, "--yes"))

    def run(
        self, *command: str, env: Mapping[str, str] | None = None, stdin: str = "", seconds: float = CLIENT_SECONDS
    ) -> str:
        """Run a client in the project to its end; return what it says. Fails the test when it fails."""
        done = subprocess.run(
            command,
            cwd=self.project,
            env={**self.environment, **(env or {})},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, f"{command[0]}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout
