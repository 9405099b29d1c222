"""What Anthropic's and llama.cpp's endpoints meet in the wild: a clear error in their own shape, and no 5xx."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firesteel.wire.anthropic import MessagesBody
from firesteel.wire.infill import InfillBody
from tests.server.live import Live, user
from tests.server.test_openapi import check, operation

GOOD: dict[str, dict[str, Any]] = {
    "/v1/messages": {"model": "scripted", "max_tokens": 2, "messages": user("hello")},
    "/v1/messages/count_tokens": {"model": "scripted", "messages": user("hello")},
    "/infill": {"input_prefix": "a", "input_suffix": "b", "n_predict": 2},
}
FIELDS = {"/infill": InfillBody.__struct_fields__}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "text", "role", "content", "name", "id", "x"]), inner, max_size=4)
    ),
    max_leaves=8,
)


def error_schema(path: str) -> dict[str, Any]:
    found: dict[str, Any] = operation(path)["responses"]["default"]["content"]["application/json"]["schema"]
    return found


@pytest.mark.parametrize("path", GOOD)
@settings(max_examples=60, deadline=None)
@given(st.data(), st.booleans())
def test_no_value_of_a_field_is_our_fault(path: str, shared_server: Live, data: st.DataObject, beta: bool) -> None:
    field = data.draw(st.sampled_from(FIELDS.get(path, MessagesBody.__struct_fields__)))
    body = {**GOOD[path], field: data.draw(json_values)}
    if body.get("max_tokens") not in (2, None) or body.get("n_predict") not in (2, None):
        return  # an endless answer is no fault
    headers = {"anthropic-beta": "x"} if beta else {}
    response = shared_server.http.post(path, json=body, headers=headers)
    assert response.status_code in (200, 400, 404), response.text
    if response.status_code != 200:
        check(response.json(), error_schema(path))


@pytest.mark.parametrize("path", GOOD)
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"model": "\xff"}', b"[" * 50_000, b"\x00" * 9])
def test_a_body_that_is_no_request(server: Live, path: str, body: bytes) -> None:
    response = server.http.post(path, content=body)
    assert response.status_code == 400
    check(response.json(), error_schema(path))


@pytest.mark.parametrize("path", GOOD)
def test_a_huge_body_and_a_long_prompt(server: Live, path: str) -> None:
    huge = server.http.post(path, content=b'{"a": "' + b"x" * 17_000_000)
    assert huge.status_code == 413
    check(huge.json(), error_schema(path))


def test_a_prompt_beyond_the_context(server: Live) -> None:
    text = "x = [1, 2, 3]\n" * 30_000
    said = server.http.post("/v1/messages", json={**GOOD["/v1/messages"], "messages": user(text)})
    assert said.status_code == 400
    assert "131072" in said.json()["error"]["message"]
    filled = server.http.post("/infill", json={**GOOD["/infill"], "input_prefix": text})
    assert filled.status_code == 200, "the hole keeps the text nearest to it"


def test_a_failure_in_mid_stream_says_so_and_nothing_hangs(server: Live) -> None:
    asked = {**GOOD["/v1/messages"], "max_tokens": 50, "messages": user("fail later"), "stream": True}
    assert b"event: error\n" in server.http.post("/v1/messages", json=asked).content
    server.wait_idle()
