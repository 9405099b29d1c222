"""Strict privacy: nothing that was said is found in any file; without it, the same search finds it."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from firesteel.backend.scripted import ScriptedTokenizer
from tests.server.live import Live, chat_body, firesteel, serving, user
from tests.server.sockets import socket_to

MARKER = "quartz_zebra_91"
LONG = f"The secret is {MARKER}. Please explain it at length. " * 60  # more than a block of KV
SCRIPT: dict[str, Any] = {"rules": [{"match": "^again", "say": LONG}], "tokens_per_step": 16}


def say_it_everywhere(live: Live) -> None:
    """Let the marker be read and written by every family of endpoints."""
    post = live.http.post
    answers = [
        post("/v1/chat/completions", json=chat_body(LONG, max_tokens=20)),
        post("/v1/chat/completions", json=chat_body("again", max_tokens=900)),
        post("/v1/completions", json={"model": "scripted", "prompt": LONG, "max_tokens": 20}),
        post("/v1/messages", json={"model": "scripted", "messages": user(LONG), "max_tokens": 20}),
        post("/infill", json={"input_prefix": LONG, "input_suffix": "\n", "n_predict": 9}),
        post("/v1/responses", json={"model": "scripted", "input": LONG, "max_output_tokens": 20}),
    ]
    assert [answer.status_code for answer in answers] == [200] * len(answers)
    with socket_to(live) as socket:
        assert socket.turn(LONG, max_output_tokens=20)["type"] == "response.incomplete"


def traces() -> list[bytes]:
    """Return what to look for: the marker as text, and as the token ids that files of KV hold."""
    tokens = ScriptedTokenizer().encode(f" {MARKER}.", special=False)[1:-1]
    assert len(tokens) > 3
    return [MARKER.encode(), np.asarray(tokens, dtype="<i4").tobytes()]


def files_with_it(folder: Path) -> list[str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path.name for path in files if any(trace in path.read_bytes() for trace in traces())]


def run(folder: Path, *arguments: str) -> str:
    """Say the marker to a server with its home in `folder`; return its log."""
    options = ("--backend", "scripted", *arguments)

    def command(port: int, script: str) -> list[str]:
        return firesteel("serve", "--port", str(port), "--script", script, *options)

    with serving(script=SCRIPT, env={"FIRESTEEL_HOME": str(folder)}, command=command) as live:
        say_it_everywhere(live)
        live.wait_idle()
        live.process.terminate()
        assert live.process.wait(20) == 0
        return live.log.read_text()


def test_strict_privacy_leaves_no_trace_in_any_file(tmp_path: Path) -> None:
    log = run(tmp_path, "--privacy", "strict")
    assert files_with_it(tmp_path) == []
    assert MARKER not in log


def test_without_it_the_search_finds_what_is_documented(tmp_path: Path) -> None:
    log = run(tmp_path)
    found = files_with_it(tmp_path)
    assert "responses.db" in found
    assert [name for name in found if not name.startswith("responses.db")], "the KV on disk holds token ids"
    assert MARKER not in log
    loose = [str(path) for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_mode & 0o077]
    assert not loose


@pytest.fixture(scope="module")
def strict() -> Iterator[Live]:
    with serving("--privacy", "strict", "--response-store", "none") as live:
        yield live


@pytest.mark.parametrize("field", ["store", "background"])
def test_what_would_be_stored_is_refused_with_the_remedy(strict: Live, field: str) -> None:
    answer = strict.http.post("/v1/responses", json={"model": "scripted", "input": "hello", field: True})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == field
    assert "send the whole conversation each time" in answer.json()["error"]["message"]


def test_without_asking_nothing_is_stored_and_the_response_says_so(strict: Live) -> None:
    body = {"model": "scripted", "input": "hello"}
    answer = strict.http.post("/v1/responses", json=body).json()
    assert answer["store"] is False
    assert strict.http.get(f"/v1/responses/{answer['id']}").status_code == 404
    follow_up = strict.http.post("/v1/responses", json={**body, "previous_response_id": answer["id"]})
    assert follow_up.status_code == 400


def test_a_connection_still_knows_its_own_conversation(strict: Live) -> None:
    with socket_to(strict) as socket:
        first = socket.turn("hello")
        follow_up = socket.turn("hello", previous_response_id=first["response"]["id"])
        assert follow_up["type"] == "response.completed"


@pytest.mark.parametrize("kept", [("--disk-cache", "8"), ("--response-store", "some.db")])
def test_what_contradicts_it_is_a_mistake(kept: tuple[str, str]) -> None:
    line = firesteel("config", "show", "--privacy", "strict", *kept)
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert f"{kept[0]}: `{kept[0][2:].replace('-', '_')}` would keep" in done.stderr


def test_the_settings_show_what_it_turned_off() -> None:
    line = firesteel("config", "show", "--privacy", "strict", "--json")
    shown = json.loads(subprocess.run(line, capture_output=True, text=True, check=True, timeout=60).stdout)["settings"]
    assert shown["disk_cache"] == {"value": 0, "from": "flag", "where": "privacy (--privacy)"}
    assert shown["response_store"]["value"] == "none"
