"""What a server meets in the wild: each gets a clear error in OpenAI's shape, and the server goes on."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.server.live import Live, Wire, chat_body, unchunked, user

CHAT = "/v1/chat/completions"


def error_of(response: Any, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == code
    return error


@pytest.mark.parametrize(
    ("fields", "code", "param", "words"),
    [
        ({"model": "gpt-99"}, "model_not_found", "model", "scripted"),
        ({"temperature": "hot"}, "invalid_value", "temperature", "str"),
        ({"max_tokens": 1.5}, "invalid_value", "max_tokens", "int"),
        ({"messages": "hello"}, "invalid_value", "messages", "array"),
        ({"messages": []}, "invalid_value", "messages", "1"),
        ({"messages": [{"role": "robot", "content": ""}]}, "invalid_value", "messages[0].role", "user"),
        ({"stream": "yes"}, "invalid_value", "stream", "bool"),
        ({"temprature": 1}, "unknown_parameter", "temprature", "`temperature`"),
        ({"logit_bias": {"99999": 1}}, "invalid_value", "logit_bias", "99999"),
        ({"prediction": {"type": "content"}}, "missing_required_parameter", "prediction.content", "send it"),
        ({"moderation": {"model": "x"}}, "invalid_value", "moderation", "remove the field"),
        ({"response_format": {"type": "xml"}}, "invalid_value", "response_format.type", "'json_schema'"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"not": {}}}}},
            "invalid_value",
            "response_format.json_schema.schema",
            '"not"',
        ),
        ({"grammar": "root ::= x"}, "invalid_value", "grammar", "`response_format`"),
    ],
)
def test_a_bad_field_is_named_with_its_remedy(
    server: Live, fields: dict[str, Any], code: str, param: str, words: str
) -> None:
    for stream in (False, True):
        status = 404 if code == "model_not_found" else 400
        body = {"stream": stream, **chat_body("hello", **fields)}
        error = error_of(server.http.post(CHAT, json=body), status, code)
        assert error["param"] == param
        assert words in error["message"]


def test_a_prompt_beyond_the_context_is_refused_in_its_own_field(server: Live) -> None:
    text = "x = [1, 2, 3]\n" * 30_000
    chat = error_of(server.chat(text), 400, "context_length_exceeded")
    raw = server.http.post("/v1/completions", json={"model": "scripted", "prompt": text})
    completion = error_of(raw, 400, "context_length_exceeded")
    assert (chat["param"], completion["param"]) == ("messages", "prompt")
    assert "131072" in chat["message"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "valid JSON"),
        (b"{", "valid JSON"),
        (b'{"model": "scripted"', "valid JSON"),
        (b"\xff\xfe{}", "JSON"),
        (b'{"model": "\xff\xfe", "messages": [{"role": "user", "content": "x"}]}', "UTF-8"),
        (b'{"metadata": ' + b"[" * 50_000, "nested"),
    ],
    ids=["empty", "brace", "cut", "utf-16", "utf-8", "nested"],
)
def test_a_body_that_is_not_json(server: Live, body: bytes, words: str) -> None:
    error = error_of(server.http.post(CHAT, content=body), 400, "invalid_json")
    assert words in error["message"]


def test_a_body_that_is_no_object(server: Live) -> None:
    for body in (b"[]", b"null", b'"text"', b"3"):
        error_of(server.http.post(CHAT, content=body), 400, "invalid_value")


def test_a_missing_field_is_named(server: Live) -> None:
    error = error_of(server.http.post(CHAT, json={"model": "scripted"}), 400, "missing_required_parameter")
    assert error["param"] == "messages"


def test_a_huge_body_is_refused(server: Live) -> None:
    text = "x" * 17_000_000
    error_of(server.chat(text), 413, "body_too_large")


def test_a_huge_chunked_body_is_refused(server: Live) -> None:
    def parts() -> Iterator[bytes]:
        yield b'{"model": "'
        for _ in range(20):
            yield b"x" * 1_000_000

    error_of(server.http.post(CHAT, content=parts()), 413, "body_too_large")


def test_an_announced_huge_body_is_refused_before_it_comes(server: Live) -> None:
    with Wire(server.port) as wire:
        wire.socket.sendall(b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n")
        answer = b""
        while b"}}" not in answer:
            answer += wire.read()
    status, body = unchunked(answer)
    assert status == 413
    assert json.loads(body)["error"]["code"] == "body_too_large"


def test_unknown_paths_and_methods(server: Live) -> None:
    error = error_of(server.http.get("/v1/nothing"), 404, "not_found")
    assert "/v1/chat/completions" in error["message"]
    error_of(server.http.get(CHAT), 405, "method_not_allowed")
    error_of(server.http.get("/v1/models/gpt-99"), 404, "model_not_found")


def test_what_is_not_http_gets_a_400_and_the_server_goes_on(server: Live) -> None:
    with Wire(server.port) as wire:
        wire.socket.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 not http\r\n\r\n")
        assert b" 400 " in wire.read_to_end()
    assert server.health() == 200


def test_the_request_id_comes_back_also_with_errors(server: Live) -> None:
    for body in (chat_body("hello"), chat_body("hello", temperature=9)):
        assert server.http.post(CHAT, json=body, headers={"x-request-id": "mine"}).headers["x-request-id"] == "mine"
    assert server.chat("hello").headers["x-request-id"]


def test_two_requests_with_the_same_id_are_two_requests(server: Live) -> None:
    body = {"model": "scripted", "messages": user("slow"), "max_tokens": 30, "stream": True}
    with server.http.stream("POST", CHAT, json=body, headers={"x-request-id": "same"}) as first:
        lines = first.iter_lines()
        assert next(lines)
        second = server.http.post(CHAT, json=chat_body("hello"), headers={"x-request-id": "same"})
        assert second.status_code == 200, second.text
        assert [line for line in lines if line][-1] == "data: [DONE]"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(
        [
            "messages",
            "stop",
            "n",
            "logit_bias",
            "tools",
            "tool_choice",
            "stream_options",
            "response_format",
            "prediction",
        ]
    ),
    json_values,
)
def test_no_value_of_a_field_is_our_fault(shared_server: Live, field: str, value: object) -> None:
    response = shared_server.chat("hello", **{"max_tokens": 2, field: value})
    assert response.status_code in (200, 400), response.text


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_no_body_is_our_fault(shared_server: Live, body: bytes) -> None:
    assert shared_server.http.post("/v1/completions", content=body).status_code == 400
