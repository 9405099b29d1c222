"""What is deployed is what the program takes: a unit for systemd, an example configuration, an image of ours."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from firesteel.settings.resolve import resolve

DEPLOY = Path(__file__).parents[2] / "deploy"
MOST_EXPOSED = 2.0  # of 10, as systemd-analyze counts; a unit without hardening has 9.6
HAS_SYSTEMD = shutil.which("systemd-analyze") is not None


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that is there."""
    text = (DEPLOY / "firesteel.service").read_text()
    assert "/opt/firesteel/.venv/bin/firesteel serve" in text
    path = tmp_path / "firesteel.service"
    path.write_text(text.replace("/opt/firesteel/.venv/bin/firesteel", sys.executable))
    return path


@pytest.mark.skipif(not HAS_SYSTEMD, reason="NOT TESTED: systemd-analyze is not installed")
def test_systemd_takes_the_unit(unit: Path) -> None:
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not HAS_SYSTEMD, reason="NOT TESTED: systemd-analyze is not installed")
def test_the_unit_exposes_little(unit: Path) -> None:
    line = ["systemd-analyze", "security", "--offline=true", str(unit)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    found = re.search(r"exposure level for firesteel.service: ([\d.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) <= MOST_EXPOSED


def test_the_example_is_a_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = resolve({}, {"FIRESTEEL_API_KEY": "k"}, str(DEPLOY / "firesteel.toml"))
    assert settings.server().host == "0.0.0.0"
    assert settings.engine().log_format == "json"
    commented = re.findall(r"^# (\[tls\]|cert = .*|key = .*)$", (DEPLOY / "firesteel.toml").read_text(), re.MULTILINE)
    assert len(commented) == 3


def test_the_container_file_names_what_is_in_the_repository() -> None:
    text = (DEPLOY / "Containerfile").read_text()
    root = DEPLOY.parent
    requirement = re.search(r"llama-cpp-python==[\d.]+", (root / "pyproject.toml").read_text())
    assert requirement
    assert requirement[0] in text
    for source in re.findall(r"^COPY (?!--from)(\S+)", text, re.MULTILINE):
        assert (root / source).exists()
    (arguments,) = re.findall(r'^CMD \["serve", (.*)\]$', text, re.MULTILINE)
    flags = dict(zip(*[iter(re.findall(r'"([^"]+)"', arguments))] * 2, strict=True))
    resolve({name[2:].replace("-", "_"): value for name, value in flags.items()}, {"FIRESTEEL_API_KEY": "k"})
    extras = re.search(r"'\.\[(.*)\]'", text)
    assert extras
    for extra in extras[1].split(","):
        assert re.search(rf"^{extra} = \[", (root / "pyproject.toml").read_text(), re.MULTILINE)
