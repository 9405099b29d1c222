"""The command line as a whole: quick to start, helpful, and honest in its exit status."""

import subprocess
import sys

import pytest

from firesteel import __version__
from tests.server.live import environment, firesteel

HEAVY = (
    "numpy",
    "tree_sitter",
    "hyperscan",
    "llama_cpp",
    "starlette",
    "uvicorn",
    "httpx",
    "jinja2",
    "prometheus_client",
)


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        firesteel(*arguments), capture_output=True, text=True, check=False, timeout=30, env=environment({})
    )


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys\nsys.argv = ['firesteel', '--help']\n"
        "from firesteel.cli import main\n"
        "try: main()\nexcept SystemExit as end: assert not end.code\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "command",
    [
        (),
        ("run",),
        ("complete",),
        ("serve",),
        ("models",),
        ("models", "list"),
        ("models", "pull"),
        ("models", "where"),
        ("models", "remove"),
        ("bench",),
        ("doctor",),
        ("guard",),
        ("guard", "scan"),
        ("guard", "rules"),
    ],
    ids=" ".join,
)
def test_every_command_explains_itself(command: tuple[str, ...]) -> None:
    done = run(*command, "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage: " in done.stdout
    assert not done.stderr


def test_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"firesteel {__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("unknown",), "unknown"),
        (("run", "x", "--temperature", "9"), "temperature"),
        (("run", "x", "--backend", "magic"), "magic"),
        (("serve", "--port", "0"), "port"),
        (("complete",), "FILE:LINE"),
        (("run", "x", "--backend", "scripted", "--script", "/no/such.json"), "/no/such.json"),
        (("run", "x", "--model", "no-such-model"), "no-such-model"),
        (("run", "x", "--script", "s.json", "--model", "/no/such.gguf"), "/no/such.gguf"),
        (("models", "where", "no-such-model"), "no-such-model"),
    ],
    ids=str,
)
def test_mistakes_are_named_and_the_status_is_not_zero(arguments: tuple[str, ...], words: str) -> None:
    done = run(*arguments)
    assert done.returncode != 0
    assert words in done.stderr.replace("\n", "")
    assert "Traceback" not in done.stderr
    assert not done.stdout
