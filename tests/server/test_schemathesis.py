"""schemathesis plays every operation of the served document: boundaries, random bodies, chains of requests."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server.live import serving

HERE = Path(__file__).parent
KEY = "s3cret-key"
SERVER = ("--accept-any-model", "--context", "512")  # without `max_tokens` an answer fills the context


@pytest.mark.timeout(300)
def test_what_is_served_is_what_the_document_says(tmp_path: Path) -> None:
    with serving(*SERVER, script={"tokens_per_step": 64}, env={"FIRESTEEL_API_KEY": KEY}) as live:
        line = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml"), "run"]
        options = ["--checks", "all", "--max-examples", "5", "--seed", "1", "--generation-database", "none"]
        patience = ["--request-timeout", "100", "--max-response-time", "100"]  # others may stop this machine
        headers = ["--header", f"Authorization: Bearer {KEY}"]
        done = subprocess.run(
            [*line, f"{live.url}/openapi.json", *headers, *options, "--continue-on-failure", *patience],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(HERE), "SCHEMATHESIS_HOOKS": "schemathesis_hooks", "NO_COLOR": "1"},
            cwd=tmp_path,  # it keeps what it found there
        )
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        assert "Selected:" in done.stdout
        assert "Traceback" not in live.log.read_text()
        live.http.headers["authorization"] = f"Bearer {KEY}"
        live.wait_idle()
