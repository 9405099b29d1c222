"""The ledger of a running server: one line for each request, whatever its API and its end."""

import csv
import io
import json
import os
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from tests.server.live import Live, Wire, chat_body, environment, firesteel, serving, wait_for

SECRET = "hello zebra-marmalade"


class Books:
    """A server, and the file that it keeps."""

    def __init__(self, live: Live, file: Path) -> None:
        self.live = live
        self.file = file

    def usage(self, *arguments: str) -> str:
        line = firesteel("usage", "--ledger", str(self.file), *arguments)
        done = subprocess.run(line, capture_output=True, text=True, env=environment({}), check=False)
        return done.stdout + done.stderr

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        text = self.usage("--json", *arguments)
        return json.loads(text) if text.startswith("[") else []

    def entered(self, endpoint: str) -> dict[str, Any]:
        """Return the sums of an endpoint, zeros where nothing was entered."""
        found = [row for row in self.rows("--by", "endpoint") if row["endpoint"] == endpoint]
        return found[0] if found else {"requests": 0, "failed": 0, "tokens_in": 0, "tokens_out": 0}

    def wait_entered(self, endpoint: str, number: int) -> dict[str, Any]:
        wait_for(lambda: self.entered(endpoint)["requests"] >= number, f"{number} of {endpoint} in the ledger")
        return self.entered(endpoint)


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    file = tmp_path / "ledger.db"
    with serving("--ledger", str(file), "--price-output", "1000000") as live:
        yield Books(live, file)


def read_events(wire: Wire, number: int) -> None:
    received = b""
    while received.count(b"data:") < number:
        received += wire.read()


def post(books: Books, path: str, **body: Any) -> httpx.Response:
    return books.live.http.post(path, json={"model": "scripted", **body})


def test_every_api_has_its_lines(books: Books) -> None:
    chat = {"messages": [{"role": "user", "content": SECRET}], "max_tokens": 4}
    answer = post(books, "/v1/chat/completions", **chat).json()
    assert post(books, "/v1/chat/completions", **chat, stream=True).status_code == 200
    assert post(books, "/v1/completions", prompt=SECRET, max_tokens=4, n=2).status_code == 200
    assert post(books, "/v1/messages", **chat).status_code == 200
    assert post(books, "/infill", input_prefix=SECRET, input_suffix="x", n_predict=4).status_code == 200
    assert post(books, "/v1/responses", input=SECRET, max_output_tokens=16).status_code == 200
    assert post(books, "/v1/responses", input=SECRET, max_output_tokens=16, stream=True).status_code == 200
    assert post(books, "/v1/responses", input=SECRET, max_output_tokens=16, background=True).status_code == 200
    with connect(books.live.url.replace("http", "ws") + "/v1/responses") as socket:
        socket.send(json.dumps({"type": "response.create", "model": "scripted", "input": SECRET}))
        while json.loads(socket.recv(10))["type"] != "response.completed":
            pass
    entered = books.wait_entered("chat", 2)
    assert entered["tokens_in"] == 2 * answer["usage"]["prompt_tokens"]
    assert entered["tokens_out"] == 8
    assert entered["cost"] == pytest.approx(8 + entered["tokens_in"] * 5e-6)
    assert books.wait_entered("completion", 1)["tokens_out"] == 8
    assert books.wait_entered("messages", 1)["tokens_out"] == 4
    assert books.wait_entered("infill", 1)["tokens_out"] == 4
    assert books.wait_entered("responses", 4)["failed"] == 0
    assert not [path for path in books.file.parent.iterdir() if b"marmalade" in path.read_bytes()]


def test_who_leaves_pays_for_what_was_computed(books: Books) -> None:
    with Wire(books.live.port) as wire:
        wire.post(chat_body("slow", stream=True))
        read_events(wire, 3)
    entered = books.wait_entered("chat", 1)
    assert entered["failed"] == 1
    assert entered["tokens_out"] >= 1
    assert entered["ttft_seconds"] is not None


def test_refusals_and_failures_are_entered(books: Books) -> None:
    assert post(books, "/v1/chat/completions", messages="no").status_code == 400
    assert books.live.chat("fail first").status_code == 500
    books.live.chat("fail later", stream=True)
    entered = books.wait_entered("chat", 3)
    assert entered["failed"] == 3
    assert [row["status"] for row in sorted_rows(books.file)] == [400, 500, 500]


def sorted_rows(file: Path) -> list[dict[str, Any]]:
    import sqlite3

    database = sqlite3.connect(file)
    database.row_factory = sqlite3.Row
    return [dict(row) for row in database.execute("SELECT * FROM firesteel_requests ORDER BY at")]


def test_counting_and_looking_cost_nothing(books: Books) -> None:
    messages = [{"role": "user", "content": "hello"}]
    assert post(books, "/v1/messages/count_tokens", messages=messages).status_code == 200
    assert post(books, "/v1/responses/input_tokens", input="hello").status_code == 200
    books.live.chat("hello", max_tokens=1)
    books.wait_entered("chat", 1)
    assert {row["endpoint"] for row in books.rows("--by", "endpoint")} == {"chat"}


def test_the_command_s_forms(books: Books) -> None:
    assert "no requests" in books.usage("--since", "1h") or "there is no ledger" in books.usage()
    id = uuid.uuid4().hex
    body = chat_body("hello", max_tokens=4)
    books.live.http.post("/v1/chat/completions", json=body, headers={"x-request-id": id})
    books.wait_entered("chat", 1)
    assert sorted_rows(books.file)[0]["request"] == id
    (line,) = csv.DictReader(io.StringIO(books.usage("--csv", "--by", "model,day", "--since", "1h")))
    assert (line["model"], line["requests"], line["tokens_out"]) == ("scripted", "1", "4")
    assert "scripted" in books.usage("--by", "model")
    assert books.rows("--until", "1h") == []
    assert "name some of" in books.usage("--by", "color")
    assert "is no time" in books.usage("--since", "yesterday")


def infill(books: Books) -> int:
    return post(books, "/infill", input_prefix="hello", input_suffix="x", n_predict=4).status_code


def test_a_killed_server_leaves_ledger_and_responses_whole(tmp_path: Path) -> None:
    ledger, store = tmp_path / "ledger.db", tmp_path / "responses.db"
    arguments, home = ("--ledger", str(ledger), "--response-store", str(store)), {"FIRESTEEL_HOME": str(tmp_path)}
    with serving(*arguments, env=home) as live:
        books = Books(live, ledger)
        kept = post(books, "/v1/responses", input="hello").json()
        books.wait_entered("responses", 1)
        with Wire(live.port) as wire:
            wire.post(chat_body("slow", stream=True))
            read_events(wire, 3)
            ended = [infill(books) for _ in range(5)]
            for pid in (*(child.pid for child in live.children()), live.process.pid):
                os.kill(pid, signal.SIGKILL)
            live.process.wait()
    with serving(*arguments, env=home) as live:
        books = Books(live, ledger)
        assert books.entered("responses")["requests"] == 1
        assert ended == [200] * 5
        assert books.wait_entered("infill", 5)["requests"] == 5  # though the last ones had only just ended
        found = live.http.get(f"/v1/responses/{kept['id']}").json()
        assert found["output"] == kept["output"]
        again = post(books, "/v1/responses", input="hello", previous_response_id=kept["id"])
        assert again.status_code == 200
        assert live.chat("hello", max_tokens=4).status_code == 200  # the client's second try
        assert books.wait_entered("responses", 2)["failed"] == 0
        assert books.wait_entered("chat", 1)["requests"] == 1  # what was killed never ended
