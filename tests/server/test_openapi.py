"""The OpenAPI document is valid, describes every route and no other, and what is sent and answered obeys it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.routing import Route

from firesteel.server.app import routes
from firesteel.server.openapi import document
from firesteel.stream.sse import SSEDecoder, SSEMessage
from tests.server.live import Live, chat_body, chunks_of

CASES = sorted(Path(__file__).parents[1].joinpath("flow", "cases").glob("*/request.json"))
PATHS = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "messages": "/v1/messages",
    "infill": "/infill",
}


def check(value: object, schema: dict[str, Any]) -> None:
    whole = {**schema, "components": document()["components"]}
    Draft202012Validator(whole, format_checker=None).validate(value)


def operation(path: str, method: str = "post") -> dict[str, Any]:
    found: dict[str, Any] = document()["paths"][path][method]
    return found


def event_data(content: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of the JSON in a stream's events."""
    data: dict[str, Any] = content["text/event-stream"]["schema"]["properties"]["data"]
    assert data["contentMediaType"] == "application/json"
    schema: dict[str, Any] = data["contentSchema"]
    return schema


def test_the_document_is_valid() -> None:
    OpenAPIV31SpecValidator(document()).validate()


def test_it_describes_every_route_and_no_other() -> None:
    served = {
        (re.sub(r":\w+}", "}", route.path), method.lower())
        for route in routes()
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    described = {(path, method) for path, methods in document()["paths"].items() for method in methods}
    assert served == described


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.parent.name)
def test_golden_transcripts_obey_it(case: Path) -> None:
    described = operation(PATHS[case.parent.name.partition("_")[0]])
    check(json.loads(case.read_bytes()), described["requestBody"]["content"]["application/json"]["schema"])
    content = described["responses"]["200"]["content"]
    if (case.parent / "response.json").exists():
        check(json.loads((case.parent / "response.json").read_bytes()), content["application/json"]["schema"])
        return
    items = SSEDecoder().feed((case.parent / "response.sse").read_bytes())
    data = [item.data for item in items if isinstance(item, SSEMessage) and item.data != "[DONE]"]
    assert data
    for text in data:
        check(json.loads(text), event_data(content))


def test_the_schemas_refuse_what_the_server_refuses(server: Live) -> None:
    schema = operation("/v1/chat/completions")["requestBody"]["content"]["application/json"]["schema"]
    validator = Draft202012Validator({**schema, "components": document()["components"]})
    wrongs: tuple[dict[str, Any], ...] = (
        {"temperature": 9},
        {"messages": []},
        {"unknown": 1},
        {"stop": [""]},
        {"tool_choice": "some"},
    )
    for wrong in wrongs:
        body = {**chat_body("hello"), **wrong}
        assert not validator.is_valid(body)
        assert server.http.post("/v1/chat/completions", json=body).status_code == 400


def test_live_answers_obey_it(server: Live) -> None:
    served = server.http.get("/openapi.json").json()
    assert served == json.loads(json.dumps(document()))
    for path in ("/v1/models", "/health", "/props", "/slots"):
        schema = operation(path, "get")["responses"]["200"]["content"]["application/json"]["schema"]
        check(server.http.get(path).json(), schema)
    error = operation("/v1/chat/completions")["responses"]["default"]["content"]["application/json"]["schema"]
    check(server.chat("hello", temperature=9).json(), error)
    events = event_data(operation("/v1/chat/completions")["responses"]["200"]["content"])
    for chunk in chunks_of(server.chat("hello", stream=True).content):
        check(chunk, events)
