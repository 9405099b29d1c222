"""One answer, with a client whose every read the test decides."""

import asyncio

import pytest

from firesteel.server import answer
from firesteel.server.responses import CreateAnswer
from firesteel.types import Failure, Progress
from tests.pipeline.fake_engine import chat, completion
from tests.server.harness import Client
from tests.server.live import comments_of, is_done, text_of


async def settled() -> None:
    """Let everything that can run do so."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_slow_reader_gets_what_came_meanwhile_as_one_event() -> None:
    client = Client("chat", chat(stream=True))
    task = client.start()
    await client.started()
    client.engine.say("first ")
    await settled()
    num_sent = len(client.sent)
    client.reads.clear()
    for number in range(100):
        client.engine.say(f"{number} ")
        await settled()
    client.reads.set()
    await settled()
    client.engine.finish()
    await asyncio.wait_for(task, 5)
    body = b"".join(client.sent)
    assert text_of(body) == "first " + "".join(f"{number} " for number in range(100))
    assert is_done(body)
    assert len(client.sent) <= num_sent + 4  # what was on its way, all the rest in one, and the end


async def test_a_client_that_takes_nothing_is_given_up() -> None:
    client = Client("chat", chat(stream=True), idle_write_seconds=0.05)
    task = client.start()
    await client.started()
    client.engine.say("first")
    await settled()
    client.reads.clear()
    client.engine.say("second")
    await asyncio.wait_for(task, 5)
    assert client.engine.cancelled == [client.engine.works[0].id]
    assert client.pipeline.admission.num_in_flight == 0
    assert 'status="499"' in client.metrics.render(None, {}, num_refused=0, num_restarts=0).decode()


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_while_nothing_happens(stream: bool) -> None:
    client = Client("chat", chat(stream=stream))
    task = client.start()
    await client.started()
    client.leaves.set()
    await asyncio.wait_for(task, 5)
    assert client.engine.cancelled == [client.engine.works[0].id]
    assert (client.status, client.sent) == (0, [])


async def test_comments_come_while_the_engine_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer, "WAITING_SECONDS", 0.01)
    client = Client("chat", chat(stream=True))
    task = client.start()
    await client.started()
    num_prompt = len(client.engine.works[0].tokens)
    while len(client.sent) < 4:
        await asyncio.sleep(0.01)
    client.engine.tell(0, lambda id: Progress(id, 3, num_prompt))
    while f": prefill 3/{num_prompt}\n\n: prefill 3/{num_prompt}" not in client.text:
        await asyncio.sleep(0.01)
    client.engine.finish()
    await asyncio.wait_for(task, 5)
    assert comments_of(b"".join(client.sent))[0] == f"prefill 0/{num_prompt}"
    assert client.headers["content-type"].startswith("text/event-stream")


async def test_a_failure_before_the_first_word_is_a_status_and_later_an_event() -> None:
    for says in (False, True):
        client = Client("completion", completion(stream=True))
        task = client.start()
        await client.started()
        if says:
            client.engine.say("text")
            await settled()
        client.engine.tell(0, lambda id: Failure(id, "engine_failure", "broken"))
        await asyncio.wait_for(task, 5)
        assert client.status == (200 if says else 500)
        assert '"code":"engine_failure"' in client.text
        assert "[DONE]" not in client.text


async def test_a_whole_answer_has_its_length_and_its_time() -> None:
    client = Client("chat", chat())
    task = client.start()
    await client.started()
    client.engine.say("text")
    client.engine.finish()
    await asyncio.wait_for(task, 5)
    assert client.headers["content-length"] == str(len(client.text))
    assert client.headers["x-request-id"] == "r"
    assert int(client.headers["openai-processing-ms"]) >= 0


@pytest.mark.parametrize(("kind", "code"), [("chat", "request_timeout"), ("messages", "timeout_error")])
async def test_a_body_that_never_ends_is_a_clear_error(kind: str, code: str) -> None:
    client = Client(kind, b"", body_seconds=0.05)
    client._body.clear()
    await asyncio.wait_for(client.start(), 5)
    assert client.status == 408
    assert "did not arrive within 0.05 seconds; send it faster" in client.text
    assert code in client.text


@pytest.mark.parametrize(("kind", "code"), [("chat", "time_limit"), ("completion", "time_limit")])
async def test_an_answer_that_takes_too_long_is_a_504(kind: str, code: str) -> None:
    client = Client(kind, chat() if kind == "chat" else b'{"model": "fake", "prompt": "x"}', request_seconds=0.05)
    await asyncio.wait_for(client.start(), 5)
    assert client.status == 504
    assert "not complete within 0.05 seconds" in client.text
    assert code in client.text
    assert client.engine.cancelled


async def test_a_stream_that_takes_too_long_ends_with_the_same_error() -> None:
    client = Client("chat", chat(stream=True), request_seconds=0.2)
    task = client.start()
    await client.started()
    client.engine.say("text")
    await asyncio.wait_for(task, 5)
    assert client.status == 200
    assert '"code":"time_limit"' in client.text
    assert "[DONE]" not in client.text


async def test_a_body_beyond_the_limit() -> None:
    client = Client("chat", b"x" * 1001)
    await asyncio.wait_for(client.start(), 5)
    assert client.status == 413


async def test_a_stream_of_a_response_that_fails_counts_as_its_error() -> None:
    client = Client("responses", b'{"model": "fake", "input": "x", "stream": true}', make=CreateAnswer)
    task = client.start()
    await client.started()
    client.engine.say("a")
    while not client.sent:
        await asyncio.sleep(0)
    client.engine.tell(0, lambda id: Failure(id, "context_length_exceeded", "too long"))
    await task
    assert client.status == 200
    assert "response.failed" in client.text
    counted = client.metrics.render(None, {}, num_refused=0, num_restarts=0).decode()
    assert 'firesteel_requests_total{endpoint="responses",status="400"} 1.0' in counted
