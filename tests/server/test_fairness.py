"""Who waits, and what a client is told meanwhile."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.server.live import Live, Wire, chat_body, comments_of, serving, unchunked

TURN = {"match": "^turn", "step_ms": 10}
KEYS = ("greedy", "other")


@pytest.fixture(scope="module")
def narrow() -> Iterator[Live]:
    """One sequence runs at a time."""
    env = {"FIRESTEEL_API_KEY": ",".join(KEYS)}
    with serving("--max-live", "1", "--max-queue", "200", script={"rules": [TURN]}, env=env) as live:
        yield live


def turn(live: Live, key: str, path: str = "/v1/chat/completions", **fields: Any) -> Wire:
    body = {**chat_body("turn"), "max_tokens": 20, **fields}
    return Wire(live.port).post(body, path, key=key)


def figure(live: Live, what: str) -> float:
    text = live.http.get("/metrics", headers={"x-api-key": KEYS[0]}).text
    return float(text.split(f'firesteel_service{{what="{what}"}} ')[1].split()[0])


def wait_queued(live: Live, number: int) -> None:
    deadline = time.monotonic() + 10
    while figure(live, "num_queued") < number:
        assert time.monotonic() < deadline, "the requests are queued"
        time.sleep(0.02)


def test_a_hundred_requests_of_one_key_do_not_keep_another_one_waiting(narrow: Live) -> None:
    """The other key's answer is complete while nearly all of the hundred still wait."""
    with ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(turn(narrow, "greedy"))
        wait_queued(narrow, 90)
        before = figure(narrow, "num_queued")
        with turn(narrow, "other") as wire:
            status, _ = unchunked(wire.read_to_end())
        assert status == 200
        assert before - figure(narrow, "num_queued") <= 8  # in order of arrival it would be all of them
        assert figure(narrow, "num_queued_keys") == 1


def test_waiting_is_told_in_each_api_s_way(narrow: Live) -> None:
    with ExitStack() as stack:
        long = stack.enter_context(turn(narrow, "greedy", max_tokens=150))
        for _ in range(3):
            stack.enter_context(turn(narrow, "greedy"))
        wait_queued(narrow, 1)
        stream = stack.enter_context(turn(narrow, "greedy", stream=True))
        whole = stack.enter_context(turn(narrow, "greedy"))
        fields = {"messages": None, "max_tokens": None, "input": "turn", "max_output_tokens": 20, "stream": True}
        asked = {name: value for name, value in fields.items() if value is not None}
        wire = Wire(narrow.port)
        stack.enter_context(wire).post({"model": "scripted", **asked}, "/v1/responses", key="greedy")
        assert figure(narrow, "queue_wait_estimate_seconds") > 0
        told = comments_of(unchunked(stream.read_to_end())[1])
        assert any(comment.startswith("queued ") and comment.endswith(" s") for comment in told)
        head = whole.read_to_end().partition(b"\r\n\r\n")[0].decode()
        assert "x-firesteel-queue-position: " in head
        assert "x-firesteel-queue-seconds: " in head
        events = [json.loads(line[6:]) for line in wire.read_to_end().decode().splitlines() if line[:7] == "data: {"]
        (queued,) = [event for event in events if event["type"] == "response.queued"]
        assert queued["queue"]["position"] >= 1
        assert queued["queue"]["estimated_seconds"] > 0
        long.socket.close()
