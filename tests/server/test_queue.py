"""The bounded queue: who runs, who waits, who is told to come back."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import openai
import pytest

from tests.server.live import Live, Wire, chat_body, comments_of, is_done, serving, unchunked, user, wait_for


@pytest.fixture(scope="module")
def small_server() -> Iterator[Live]:
    """One sequence may run and one may wait."""
    with serving("--max-live", "1", "--max-queue", "1") as live:
        yield live


@pytest.fixture
def full(small_server: Live) -> Iterator[tuple[Wire, Wire]]:
    """A running stream and a waiting one; nothing is left of them afterwards."""
    with filled(small_server) as wires:
        yield wires
    small_server.wait_idle()


@contextmanager
def filled(live: Live) -> Iterator[tuple[Wire, Wire]]:
    with Wire(live.port) as first, Wire(live.port) as second:
        first.post(chat_body("slow", stream=True))
        live.wait_engine(num_running=1)
        second.post(chat_body("hello", stream=True))
        live.wait_engine(num_waiting=1)
        yield first, second


def test_beyond_the_queue_is_a_503_that_says_when_to_come_back(small_server: Live, full: tuple[Wire, Wire]) -> None:
    for stream in (False, True):
        response = small_server.chat("hello", stream=stream)
        assert response.status_code == 503
        assert response.json()["error"]["code"] == "server_is_overloaded"
        assert int(response.headers["retry-after"]) >= 1
    assert small_server.metric("firesteel_refused_requests") >= 2
    full[0].socket.close()
    _, stream_bytes = unchunked(full[1].read_to_end())
    assert is_done(stream_bytes)


def test_the_sdk_without_retries_raises(small_server: Live, full: tuple[Wire, Wire]) -> None:
    with small_server.openai() as client, pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="scripted", messages=user("hello"))
    assert caught.value.code == "server_is_overloaded"
    assert caught.value.response.headers["retry-after"]


def test_the_sdk_comes_back_and_is_served(small_server: Live, full: tuple[Wire, Wire]) -> None:
    refused = small_server.metric("firesteel_refused_requests")
    answers: list[Any] = []

    def ask() -> None:
        with small_server.openai(max_retries=5) as client:
            answers.append(client.chat.completions.create(model="scripted", messages=user("hello")))

    thread = threading.Thread(target=ask)
    thread.start()
    wait_for(lambda: small_server.metric("firesteel_refused_requests") > refused, "the first attempt is refused")
    full[0].socket.close()
    thread.join(timeout=20)
    assert answers
    assert answers[0].choices[0].message.content.startswith("Hello")


def test_a_waiting_client_that_leaves_frees_its_place(small_server: Live, full: tuple[Wire, Wire]) -> None:
    full[1].socket.close()
    small_server.wait_engine(num_waiting=0, num_running=1)
    with Wire(small_server.port) as third:
        third.post(chat_body("hello", stream=True))
        small_server.wait_engine(num_waiting=1)


def test_every_choice_counts(small_server: Live) -> None:
    with Wire(small_server.port) as wire:
        wire.post(chat_body("slow", stream=True))
        small_server.wait_engine(num_running=1)
        assert small_server.chat("hello", n=2).status_code == 503
    small_server.wait_idle()
    alone = small_server.chat("hello", n=4)  # a request that comes alone always fits
    assert alone.status_code == 200
    assert len(alone.json()["choices"]) == 4


def test_waiting_is_audible(small_server: Live) -> None:
    """A queued stream has its status and a comment long before its first token."""
    with filled(small_server) as (first, second):
        received = second.read()
        while b": prefill" not in received:
            received += second.read()
        assert b" 200 OK" in received
        first.socket.close()
        received += second.read_to_end()
    _, stream = unchunked(received)
    assert is_done(stream)
    assert comments_of(stream)
    small_server.wait_idle()
