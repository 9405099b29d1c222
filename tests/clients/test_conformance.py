"""PyPI's `llm-comply` asks what the specifications of three wire formats say, and checks the schemas."""

import json

import pytest

from tests.clients.installed import User, client
from tests.server.live import Live

pytestmark = [pytest.mark.clients, pytest.mark.timeout(240)]


@pytest.mark.parametrize(("form", "least"), [("open-responses", 12), ("openai-chat", 8), ("anthropic", 8)])
def test_the_suite_has_no_complaint(someone: User, clients_server: Live, form: str, least: int) -> None:
    """What it skips needs a model that reasons."""
    comply = client("llm-comply")
    asked = ("--base-url", f"{clients_server.url}/v1", "--api-key", "x", "--model", "scripted", "--format", form)
    report = json.loads(someone.run(comply, *asked, "--json"))
    assert [test for test in report["results"] if test["status"] not in ("passed", "skipped")] == []
    assert report["summary"]["passed"] >= least
