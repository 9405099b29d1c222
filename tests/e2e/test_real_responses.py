"""`/v1/responses` on the real model: text arrives over HTTP and the WebSocket, and a steer is answered."""

import openai
import pytest

from tests.server.live import Live
from tests.server.sockets import socket_to, text_of

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]


def test_text_arrives_and_the_next_turn_is_warm(client: openai.OpenAI) -> None:
    model = client.models.list().data[0].id
    asked = "Write a Python function that adds two numbers."
    first = client.responses.create(model=model, input=asked, max_output_tokens=80, temperature=0)
    assert "def " in first.output_text
    second = client.responses.create(
        model=model, input="Say thanks.", previous_response_id=first.id, max_output_tokens=5, temperature=0
    )
    assert second.output_text


def test_a_steer_is_answered(real: Live) -> None:
    model = real.http.get("/v1/models").json()["data"][0]["id"]
    with socket_to(real) as socket:
        socket.create("Write a long Python class for a bank account.", model=model, temperature=0)
        id = socket.until("response.output_text.delta")[0]["response"]["id"]
        socket.send({"type": "response.steer", "previous_response_id": id, "input": "Stop. Answer only: OK"})
        events = socket.until("response.completed")
    incomplete = next(event for event in events if event["type"] == "response.incomplete")
    assert incomplete["response"]["incomplete_details"] == {"reason": "steered"}
    last = events[-1]["response"]
    assert text_of(last)
    assert last["usage"]["input_tokens_details"]["cached_tokens"] > 0
    real.wait_idle()
