"""PyPI's `llm-comply` asks what the specifications of three wire formats say, and checks the schemas."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.installed import User, client
from tests.server.live import Live, serving

pytestmark = [pytest.mark.clients, pytest.mark.timeout(240)]

CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"location": "Oslo"}}\n</tool_call>'
RULES = [{"match": "(?i)weather", "when": "user", "say": CALL}, {"match": "", "say": "Hello."}]


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    """A server whose model does what the suite's questions expect."""
    with serving(script={"rules": RULES}) as live:
        yield live


@pytest.mark.parametrize(("form", "least"), [("open-responses", 12), ("openai-chat", 8), ("anthropic", 8)])
def test_the_suite_has_no_complaint(live: Live, tmp_path: Path, form: str, least: int) -> None:
    """What it skips needs a model that reasons."""
    comply, someone = client("llm-comply"), User(tmp_path, live.url)
    asked = ("--base-url", f"{live.url}/v1", "--api-key", "x", "--model", "scripted", "--format", form)
    report = json.loads(someone.run(comply, *asked, "--json"))
    assert [test for test in report["results"] if test["status"] not in ("passed", "skipped")] == []
    assert report["summary"]["passed"] >= least
