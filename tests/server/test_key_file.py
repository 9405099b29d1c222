"""Keys of `firesteel keys` at a running server: made, used, confined and revoked while it serves."""

import json
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from tests.server.live import Live, chat_body, environment, firesteel, serving


class Team:
    """A server with a key file, and the command that changes it."""

    def __init__(self, live: Live, file: Path) -> None:
        self.live = live
        self.file = file

    def keys(self, *arguments: str) -> str:
        line = firesteel("keys", *arguments, "--keys", str(self.file))
        return subprocess.run(line, check=True, capture_output=True, text=True, env=environment({})).stdout.strip()

    def ask(self, key: str, method: str = "POST", path: str = "/v1/chat/completions") -> httpx.Response:
        body = chat_body("hello", max_tokens=4) if method == "POST" else None
        return self.live.http.request(method, path, json=body, headers={"x-api-key": key})


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    file = tmp_path_factory.mktemp("team") / "keys.json"
    with serving("--keys", str(file), env={"FIRESTEEL_API_KEY": "boss"}) as live:
        yield Team(live, file)


def test_a_key_lives_from_create_to_revoke(team: Team) -> None:
    created: dict[str, Any] = json.loads(team.keys("create", "anna", "--json"))
    key = created["key"]
    assert team.ask(key).status_code == 200
    listed = team.keys("list", "--json")
    assert created["id"] in listed
    assert key not in listed
    team.keys("revoke", "anna")
    refused = team.ask(key)
    assert refused.status_code == 401
    assert refused.json()["error"]["code"] == "invalid_api_key"
    assert team.ask("boss").status_code == 200
    assert key.split("-", 2)[2] not in team.live.log.read_text()


def test_a_key_that_ends_by_itself(team: Team) -> None:
    created = json.loads(team.keys("create", "guest", "--expires", "30d", "--json"))
    made, ends = (datetime.fromisoformat(created[name]) for name in ("created", "expires"))
    assert timedelta(days=30) <= ends - made <= timedelta(days=30, seconds=2)
    assert team.ask(created["key"]).status_code == 200
    document = json.loads(team.file.read_bytes())
    (entry,) = (key for key in document["keys"] if key["name"] == "guest")
    entry["expires"] = entry["created"]
    team.file.write_text(json.dumps(document))
    refused = team.ask(created["key"])
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "expired_api_key")


def test_a_key_sees_only_the_models_that_it_may_use(team: Team) -> None:
    own, other = team.keys("create", "own", "--model", "scripted"), team.keys("create", "other", "--model", "other")
    assert [model["id"] for model in team.ask(own, "GET", "/v1/models").json()["data"]] == ["scripted"]
    assert team.ask(own, "GET", "/v1/models/scripted").status_code == 200
    assert team.ask(other, "GET", "/v1/models").json()["data"] == []
    assert team.ask(other, "GET", "/v1/models/scripted").status_code == 404


def test_scopes_confine(team: Team) -> None:
    generate, metrics = team.keys("create", "g"), team.keys("create", "m", "--scope", "metrics")
    assert team.ask(generate, "GET", "/v1/models").status_code == 200
    assert team.ask(metrics, "GET", "/metrics").status_code == 200
    for key, method, path in (
        (generate, "GET", "/metrics"),
        (metrics, "GET", "/v1/models/scripted"),
        (metrics, "POST", "/v1/chat/completions"),
    ):
        refused = team.ask(key, method, path)
        assert refused.status_code == 403
        assert refused.json()["error"]["code"] == "insufficient_scope"
        assert "--scope" in refused.json()["error"]["message"]
    refused = team.ask(metrics, "POST", "/v1/messages")
    assert refused.json()["error"]["type"] == "permission_error"


def test_a_socket_notices_that_its_key_was_revoked(team: Team) -> None:
    key = team.keys("create", "socket")
    create = json.dumps({"type": "response.create", "model": "scripted", "input": "hello"})
    url = team.live.url.replace("http", "ws") + "/v1/responses"
    with connect(url, additional_headers={"authorization": f"Bearer {key}"}) as socket:
        socket.send(create)
        while json.loads(socket.recv(10))["type"] != "response.completed":
            pass
        team.keys("revoke", "socket")
        socket.send(create)
        frame = json.loads(socket.recv(10))
    assert (frame["type"], frame["status"]) == ("error", 401)
