"""Nothing is called from here: in a network namespace that has no way out, every endpoint works."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from firesteel.server.operations import OPERATIONS

ROOT = Path(__file__).parents[2]
UNSHARE = ["unshare", "--user", "--map-root-user", "--net"]


def is_permitted() -> bool:
    try:
        return subprocess.run([*UNSHARE, "ip", "link"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not is_permitted(), reason="NOT TESTED: this system lets nobody make a network namespace (unshare)")
def test_every_endpoint_works_without_any_route() -> None:
    done = subprocess.run(
        [*UNSHARE, sys.executable, "-m", "tests.server.isolated"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["is_cut_off"], "the namespace has a way out, so the test would prove nothing"
    assert set(found["statuses"]) == {f"{o.method} {o.path}" for o in OPERATIONS}
    steer = "post /v1/responses/{id}/steer"
    assert found["statuses"].pop(steer) == 409  # it has ended, and says so
    assert set(found["statuses"].values()) == {200}
    assert found["socket"] == "response.completed"
    assert set(found["remote_ends"]) <= {"127.0.0.1"}
