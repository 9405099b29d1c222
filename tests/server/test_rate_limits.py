"""Limits at a running server: what a client is told, in the words of each API."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
from websockets.sync.client import connect

from tests.server.live import Live, chat_body, environment, firesteel, serving, user


class Office:
    """A server with keys of its own."""

    def __init__(self, live: Live, file: Path) -> None:
        self.live = live
        self._file = file
        self._number = 0

    def key(self, *arguments: str) -> str:
        self._number += 1
        line = firesteel("keys", "create", f"k{self._number}", "--keys", str(self._file), *arguments)
        return subprocess.run(line, check=True, capture_output=True, text=True, env=environment({})).stdout.strip()

    def metric(self, what: str) -> float:
        headers = {"x-api-key": self.key("--scope", "metrics")}
        text = self.live.http.get("/metrics", headers=headers).text
        return float(text.split(f'firesteel_service{{what="{what}"}} ')[1].split()[0])

    def chat(self, key: str, **fields: Any) -> httpx.Response:
        body = chat_body("hello", **{"max_tokens": 4, **fields})
        return self.live.http.post("/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"})


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    file = tmp_path_factory.mktemp("office") / "keys.json"
    with serving("--keys", str(file), "--tokens-per-minute", "50000") as live:
        yield Office(live, file)


def test_every_response_says_what_is_left(office: Office) -> None:
    key = office.key("--requests-per-minute", "3")
    first, second = office.chat(key), office.chat(key, stream=True)
    assert [r.headers["x-ratelimit-remaining-requests"] for r in (first, second)] == ["2", "1"]
    assert first.headers["x-ratelimit-limit-requests"] == "3"
    assert first.headers["x-ratelimit-limit-tokens"] == "50000"
    assert first.headers["x-ratelimit-reset-requests"].endswith("s")


def test_beyond_the_limit_is_a_429_that_says_when(office: Office) -> None:
    key = office.key("--requests-per-minute", "1")
    assert office.chat(key).status_code == 200
    for stream in (False, True):
        refused = office.chat(key, stream=stream)
        assert refused.status_code == 429
        error = refused.json()["error"]
        assert (error["code"], error["type"], error["param"]) == ("rate_limit_exceeded", "requests", None)
        assert 1 <= int(refused.headers["retry-after"]) <= 61
        assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    assert office.metric("num_rate_limited") >= 2


def test_the_sdks_know_it(office: Office) -> None:
    key = office.key("--requests-per-minute", "1")
    with office.live.openai(api_key=key) as client:
        client.chat.completions.create(model="scripted", messages=user("hello"), max_tokens=4)
        with pytest.raises(openai.RateLimitError):
            client.responses.create(model="scripted", input="hello")
    with (
        anthropic.Anthropic(base_url=office.live.url, api_key=key, max_retries=0) as claude,
        pytest.raises(anthropic.RateLimitError) as caught,
    ):
        claude.messages.create(model="scripted", messages=user("hello"), max_tokens=4)
    assert caught.value.response.json()["error"]["type"] == "rate_limit_error"
    assert caught.value.response.headers["anthropic-ratelimit-requests-remaining"] == "0"


def test_tokens_are_set_aside_and_given_back(office: Office) -> None:
    key = office.key("--tokens-per-minute", "1000")
    first = office.chat(key, max_tokens=900)
    usage = first.json()["usage"]["total_tokens"]
    assert usage < 100
    second = office.chat(key, max_tokens=900 - usage - 60)
    assert second.status_code == 200
    refused = office.chat(key, max_tokens=1001)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "max_tokens"


def test_a_socket_is_told_by_a_frame(office: Office) -> None:
    key = office.key("--requests-per-minute", "1")
    create = json.dumps({"type": "response.create", "model": "scripted", "input": "hello"})
    url = office.live.url.replace("http", "ws") + "/v1/responses"
    with connect(url, additional_headers={"authorization": f"Bearer {key}"}) as socket:
        socket.send(create)
        while json.loads(socket.recv(10))["type"] != "response.completed":
            pass
        socket.send(create)
        frame = json.loads(socket.recv(10))
    assert (frame["status"], frame["error"]["code"]) == (429, "rate_limit_exceeded")
    assert frame["error"]["headers"]["x-ratelimit-remaining-requests"] == "0"
    assert int(frame["error"]["headers"]["retry-after"]) >= 1


def test_steering_counts(office: Office) -> None:
    headers = {"authorization": f"Bearer {office.key('--requests-per-minute', '1')}"}
    body = {"model": "scripted", "input": "stall", "background": True, "max_output_tokens": 100}
    id = office.live.http.post("/v1/responses", json=body, headers=headers).json()["id"]
    refused = office.live.http.post(f"/v1/responses/{id}/steer", json={"input": "more"}, headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert int(refused.headers["retry-after"]) >= 1
    office.live.http.post(f"/v1/responses/{id}/cancel", headers=headers)


def test_a_model_that_the_key_may_not_use(office: Office) -> None:
    refused = office.chat(office.key("--model", "other"))
    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "model_not_allowed"
    assert "other" in refused.json()["error"]["message"]
    assert office.chat(office.key("--model", "scripted")).status_code == 200
    for path in ("/v1/messages/count_tokens", "/v1/responses/input_tokens"):
        body = (
            {"model": "scripted", "messages": user("x")} if "messages" in path else {"model": "scripted", "input": "x"}
        )
        answers = [
            office.live.http.post(path, json=body, headers={"x-api-key": office.key("--model", model)})
            for model in ("other", "scripted")
        ]
        assert [answer.status_code for answer in answers] == [403, 200]
        assert "other" in answers[0].json()["error"]["message"]


def test_what_nobody_waits_for_is_refused_at_once(office: Office) -> None:
    def begin(key: str, model: str = "scripted") -> httpx.Response:
        body = {"model": model, "input": "hello", "background": True, "max_output_tokens": 4}
        return office.live.http.post("/v1/responses", json=body, headers={"x-api-key": key})

    key = office.key("--requests-per-minute", "1")
    let_in, refused = begin(key), begin(key)
    assert (let_in.status_code, let_in.json()["status"]) == (200, "queued")
    assert let_in.headers["x-ratelimit-remaining-requests"] == "0"
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert int(refused.headers["retry-after"]) >= 1
    assert begin(office.key("--model", "other")).status_code == 403
    assert begin(office.key(), "other").status_code == 404


def test_the_history_of_a_conversation_counts(office: Office) -> None:
    headers = {"x-api-key": office.key("--tokens-per-minute", "1000")}

    def ask(**fields: Any) -> httpx.Response:
        body = {"model": "scripted", "input": "hash", "max_output_tokens": 20, **fields}
        return office.live.http.post("/v1/responses", json=body, headers=headers)

    first = ask(max_output_tokens=600).json()
    assert first["usage"]["total_tokens"] > 500
    assert ask(previous_response_id=first["id"]).status_code == 429
    assert ask().status_code == 200
