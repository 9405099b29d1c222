"""JSON logs: each line an object, each request a line with its id, and never a prompt, an answer or a key."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.sync.client import connect

from firesteel.logs import JsonFormatter
from tests.server.live import Live, Wire, chat_body, serving, wait_for

KEY = "s3cret-key"
WORDS = "quartz zebra"


@pytest.fixture(scope="module")
def logging_server() -> Iterator[Live]:
    with serving("--log-format", "json", env={"FIRESTEEL_API_KEY": KEY}) as live:
        live.http.headers["authorization"] = f"Bearer {KEY}"
        yield live


def lines(live: Live) -> list[dict[str, Any]]:
    return [json.loads(line) for line in live.log.read_text().splitlines()]


def line_of(live: Live, id: str) -> dict[str, Any]:
    def found() -> list[dict[str, Any]]:
        return [line for line in lines(live) if line.get("request_id") == id and line["message"] == "request"]

    return wait_for(found, f"the line of {id}")[0]


def test_a_request_is_one_line_with_its_id_and_its_cost(logging_server: Live) -> None:
    post = logging_server.http.post
    answer = post("/v1/chat/completions", json=chat_body(f"hello {WORDS}"), headers={"x-request-id": "mine-1"})
    line = line_of(logging_server, "mine-1")
    usage = answer.json()["usage"]
    assert answer.headers["x-request-id"] == "mine-1"
    assert line["status"] == 200
    assert line["method"] == "POST"
    assert line["path"] == "/v1/chat/completions"
    assert (line["prompt_tokens"], line["output_tokens"]) == (usage["prompt_tokens"], usage["completion_tokens"])
    assert 0 < line["ttft_seconds"] <= line["seconds"]
    assert {"time", "level", "logger", "queue_seconds", "cached_tokens", "accepted_tokens"} <= set(line)


@pytest.mark.parametrize(
    ("path", "status"), [("/v1/models", 401), ("/nothing", 404), ("/health", 200), ("/v1/responses/x", 401)]
)
def test_what_is_refused_is_logged_too(logging_server: Live, path: str, status: int) -> None:
    id = f"refused-{path}"
    headers = {"x-request-id": id, "authorization": "Bearer wrong"}
    logging_server.http.get(path, headers=headers)
    assert line_of(logging_server, id)["status"] == status


def test_a_client_that_left_has_a_line(logging_server: Live) -> None:
    with Wire(logging_server.port) as wire:
        wire.post(chat_body("slow", stream=True), key=KEY).read()
    logging_server.wait_idle()
    wait_for(lambda: [line for line in lines(logging_server) if line.get("status") == 499], "a line")


@pytest.mark.parametrize(("path", "field"), [("/v1/chat/completions", "messages"), ("/v1/responses", "input")])
def test_a_stream_that_fails_on_its_way_says_so(logging_server: Live, path: str, field: str) -> None:
    endpoint = path.split("/")[2].removesuffix("/completions")
    failures = f'firesteel_requests_total{{endpoint="{endpoint}",status="500"}}'
    before = counted(logging_server, failures)
    body = {"model": "scripted", field: [{"role": "user", "content": "fail later"}], "stream": True}
    answer = logging_server.http.post(path, json=body, headers={"x-request-id": f"broken-{field}"})
    assert answer.status_code == 200
    assert line_of(logging_server, f"broken-{field}")["status"] == 500
    assert counted(logging_server, failures) == before + 1


def counted(live: Live, name: str) -> float:
    return sum(float(line.split()[1]) for line in live.http.get("/metrics").text.splitlines() if line.startswith(name))


def test_each_request_of_a_socket_is_a_line_and_the_socket_is_one_too(logging_server: Live) -> None:
    url = logging_server.url.replace("http", "ws") + "/v1/responses"
    create = {"type": "response.create", "model": "scripted", "input": f"hello {WORDS}"}
    headers = {"authorization": f"Bearer {KEY}", "x-request-id": "socket-1"}
    with connect(url, additional_headers=headers) as socket:
        assert socket.response is not None
        assert socket.response.headers["x-request-id"] == "socket-1"
        usages = []
        for body in (create, create | {"previous_response_id": "resp_none"}, create):
            socket.send(json.dumps(body))
            while (event := json.loads(socket.recv(10)))["type"] not in ("response.completed", "error"):
                pass
            usages.append(event["response"]["usage"] if "response" in event else None)
    assert line_of(logging_server, "socket-1")["status"] == 101
    asked = [line for line in lines(logging_server) if line.get("connection_id") == "socket-1"]
    assert [(line["method"], line["path"]) for line in asked] == [("response.create", "/v1/responses")] * 3
    assert [line["status"] for line in asked] == [200, 400, 200]
    assert len({line["request_id"] for line in asked}) == 3
    assert [line.get("output_tokens") for line in asked] == [usage and usage["output_tokens"] for usage in usages]
    assert "output_tokens" not in line_of(logging_server, "socket-1")


def test_a_socket_is_told_the_id_that_its_requests_are_logged_with(logging_server: Live) -> None:
    url = logging_server.url.replace("http", "ws") + "/v1/responses"
    with connect(url, additional_headers={"authorization": f"Bearer {KEY}"}) as socket:
        assert socket.response is not None
        id = socket.response.headers["x-request-id"]
    assert line_of(logging_server, id)["status"] == 101


def test_no_line_holds_what_was_said_or_a_key(logging_server: Live) -> None:
    for path in ("/v1/chat/completions", "/v1/messages"):
        logging_server.http.post(path, json=chat_body(f"fail first {WORDS}", max_tokens=9))
        logging_server.http.post(path, json=chat_body(WORDS, max_tokens=9, **{WORDS: 1}))
    logging_server.http.post("/v1/chat/completions", content=f'{{"{WORDS}'.encode())
    logging_server.http.get("/health", headers={"x-request-id": "the-last"})
    line_of(logging_server, "the-last")
    assert all(lines(logging_server))
    log = logging_server.log.read_text()
    assert WORDS not in log
    assert KEY not in log


@given(st.text(), st.text())
def test_any_words_make_one_line_of_json(message: str, id: str) -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "%s", (message,), None)
    line = JsonFormatter(lambda: id).format(record)
    assert "\n" not in line
    assert json.loads(line)["message"] == message.encode("utf-8", "replace").decode()
    assert json.loads(line)["request_id"] == id
