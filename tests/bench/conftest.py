import json
from pathlib import Path

import pytest

from firesteel.bench.subject import Subject

SLOW_PREFILL = {"rules": [{"match": "Here is code", "prefill_ms_per_row": 0.2, "step_ms": 2}]}


@pytest.fixture
def subject(monkeypatch: pytest.MonkeyPatch) -> Subject:
    """The scripted backend; its peer is a second server of ours with the same."""
    monkeypatch.setattr(Subject, "peer_command", lambda self, port, **_: self.serve_command(port))
    return Subject(None)


@pytest.fixture
def slow_subject(subject: Subject, tmp_path: Path) -> Subject:
    """The same, but the code that conversations begin with takes 0.2 ms a token to prefill and 2 ms to decode."""
    script = tmp_path / "script.json"
    script.write_text(json.dumps(SLOW_PREFILL))
    return Subject(None, script=str(script))
