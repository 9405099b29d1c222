"""`/v1/responses` over HTTP, with the official SDK against a live server."""

import time
from typing import Any

import httpx
import openai
import pytest

from tests.server.live import Live, comments_of, wait_for

HELLO = "Hello. What shall we write? 🦊 ok"
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": True,
}


def test_text_streamed_and_whole(client: openai.OpenAI) -> None:
    assert client.responses.create(model="scripted", input="hello").output_text == HELLO
    with client.responses.stream(model="scripted", input="hello") as stream:
        kinds = [event.type for event in stream]
        assert stream.get_final_response().output_text == HELLO
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")


def test_a_conversation_over_stored_responses(client: openai.OpenAI) -> None:
    first = client.responses.create(model="scripted", input="hello", metadata={"a": "b"})
    second = client.responses.create(model="scripted", input="hello again", previous_response_id=first.id)
    assert client.responses.retrieve(first.id).metadata == {"a": "b"}
    roles = [getattr(item, "role", None) for item in client.responses.input_items.list(second.id, order="asc")]
    assert roles == ["user", "assistant", "user"]
    (last,) = client.responses.input_items.list(second.id, limit=1).data
    assert last.model_dump()["content"][0]["text"] == "hello again"
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first.id)
    with pytest.raises(openai.BadRequestError) as lost:
        client.responses.create(model="scripted", input="hello", previous_response_id=first.id)
    assert lost.value.code == "previous_response_not_found"


def test_a_tool_loop(client: openai.OpenAI) -> None:
    first = client.responses.create(model="scripted", input="What is the weather?", tools=[WEATHER])
    (call,) = first.output
    assert call.type == "function_call"
    output: Any = [{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}]
    second = client.responses.create(model="scripted", input=output, previous_response_id=first.id, tools=[WEATHER])
    assert "sunny" in second.output_text


def test_an_answer_that_follows_a_schema(client: openai.OpenAI) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    text: Any = {"format": {"type": "json_schema", "name": "n", "schema": {**schema, "additionalProperties": False}}}
    response = client.responses.create(model="scripted", input="hash", text=text, max_output_tokens=40)
    assert response.output_text.startswith('{"n": ')


def test_an_image_is_noted_and_no_error(client: openai.OpenAI) -> None:
    parts: Any = [{"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "auto"}]
    response = client.responses.create(
        model="scripted", input=[{"role": "user", "content": parts}], max_output_tokens=5
    )
    assert response.firesteel["noted"] == ["input.content.input_image"]  # type: ignore[attr-defined]


def test_in_the_background(client: openai.OpenAI, server: Live) -> None:
    response = client.responses.create(model="scripted", input="hello", background=True)
    assert response.status == "queued"
    done = wait_for(lambda: finished(client, response.id), "the response has ended")
    assert done.output_text == HELLO
    url = f"/v1/responses/{response.id}?stream=true&starting_after=3"
    events = server.http.get(url).text.split("\n\n")
    assert '"sequence_number":4' in events[0]
    assert "response.completed" in events[-3]


def test_what_is_deleted_cannot_be_followed(client: openai.OpenAI, server: Live) -> None:
    response = client.responses.create(model="scripted", input="hello", background=True)
    wait_for(lambda: finished(client, response.id), "the response has ended")
    url = f"/v1/responses/{response.id}?stream=true"
    assert server.http.get(url).status_code == 200
    client.responses.delete(response.id)
    assert server.http.get(url).status_code == 404


def finished(client: openai.OpenAI, id: str) -> Any:
    response = client.responses.retrieve(id)
    return response if response.status not in ("queued", "in_progress") else None


def test_what_runs_in_the_background_can_be_cancelled(client: openai.OpenAI, server: Live) -> None:
    response = client.responses.create(model="scripted", input="slow", background=True)
    assert client.responses.cancel(response.id).status == "cancelled"
    assert client.responses.retrieve(response.id).status == "cancelled"
    assert client.responses.cancel(response.id).status == "cancelled"
    server.wait_idle()


def test_counting_and_compacting(client: openai.OpenAI, server: Live) -> None:
    conversation: Any = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "yes"}]
    count = client.responses.input_tokens.count(model="scripted", input=conversation).input_tokens
    assert count == client.responses.create(model="scripted", input=conversation).usage.input_tokens  # type: ignore[union-attr]
    body = {"model": "scripted", "input": conversation}
    compacted = server.http.post("/v1/responses/compact", json=body).json()["output"]
    assert [item["type"] for item in compacted] == ["message", "compaction"]
    again: Any = [*compacted, {"role": "user", "content": "hello"}]
    assert client.responses.create(model="scripted", input=again).output_text == HELLO
    assert client.responses.compact(model="scripted", input=conversation).output[-1].type == "compaction"


def test_steering_a_stream_of_somebody_else(client: openai.OpenAI, server: Live) -> None:
    events = []
    for event in client.responses.create(model="scripted", input="slow", stream=True, max_output_tokens=500):
        events.append(event)
        if event.type == "response.output_text.delta" and len(events) == 20:
            url = f"/v1/responses/{events[0].response.id}/steer"  # type: ignore[union-attr]
            answer = server.http.post(url, json={"input": "hello"}).json()
            assert answer["type"] == "response.steer.accepted"
    kinds = [event.type for event in events]
    assert kinds.count("response.created") == 2
    order = ["response.steer.accepted", "response.incomplete", "response.completed"]
    assert [kind for kind in kinds if kind in order] == order
    assert events[-1].response.output_text == HELLO  # type: ignore[union-attr]
    assert server.http.post(url, json={"input": "more"}).status_code == 409
    assert server.http.post("/v1/responses/resp_x/steer", json={"input": "more"}).status_code == 404
    assert server.http.post(url, json={"input": []}).status_code == 400


def test_progress_of_a_long_prompt_and_errors_that_name_the_field(server: Live) -> None:
    text = f"read slowly {time.time()} " + "word " * 150
    body = {"model": "scripted", "input": text, "stream": True, "max_output_tokens": 1}
    assert any("prefill" in comment for comment in comments_of(server.http.post("/v1/responses", json=body).content))
    bad = server.http.post("/v1/responses", json={"model": "scripted", "input": "x", "modle": 1})
    assert (bad.status_code, bad.json()["error"]["param"]) == (400, "modle")
    assert server.http.post("/v1/responses", json={"model": "other", "input": "x"}).status_code == 404
    assert server.http.post("/v1/responses/compact", json={"input": "x"}).json()["error"]["param"] == "model"
    assert server.http.get("/v1/responses/resp_x").json()["error"]["code"] == "response_not_found"


def test_a_client_that_leaves_ends_its_response(server: Live) -> None:
    body = {"model": "scripted", "input": "slow", "stream": True}
    leaving = httpx.Client(base_url=server.url, trust_env=False)
    with leaving, leaving.stream("POST", "/v1/responses", json=body) as response:
        next(response.iter_lines())
    server.wait_idle()


def test_a_failure_has_a_status_or_an_event(server: Live) -> None:
    body = {"model": "scripted", "input": "fail first", "stream": True}
    assert server.http.post("/v1/responses", json=body).status_code == 500
    late = server.http.post("/v1/responses", json={**body, "input": "fail later"}).text
    assert "event: response.failed" in late
