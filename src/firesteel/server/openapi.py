"""`GET /openapi.json`: the endpoints as an OpenAPI 3.1 document, made from the structs that decode and encode them."""

from functools import cache
from importlib.metadata import version
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from firesteel.server.operation import Operation
from firesteel.server.operations import OPERATIONS

REFERENCE = "#/components/schemas/{name}"
DESCRIPTION = "Models on your own hardware, for the clients of OpenAI, Anthropic and llama.cpp."


@cache
def document() -> dict[str, Any]:
    """Return the OpenAPI document. Spec: https://spec.openapis.org/oas/v3.1.1.html."""
    types = list(dict.fromkeys(type for operation in OPERATIONS for type in _types(operation)))
    schemas, components = msgspec.json.schema_components(types, ref_template=REFERENCE)
    by_type = dict(zip(types, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation, by_type)
    made = {
        "openapi": "3.1.0",
        "info": {"title": "Firesteel", "version": version("firesteel"), "description": DESCRIPTION},
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"key": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(made))  # without tuples
    return plain


def _types(operation: Operation) -> list[Any]:
    body = (operation.body,) if operation.body else ()
    return [*body, *operation.responses, *operation.events, operation.error]


def _operation(operation: Operation, schemas: dict[Any, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": _name(operation),
        "responses": {
            "200": {"description": "The answer.", "content": _content(operation, schemas)},
            "default": {
                "description": "What went wrong, and what to send instead.",
                "content": {"application/json": {"schema": schemas[operation.error]}},
            },
        },
    }
    parameters = [_query(name) for name in operation.query]
    parameters += [_in_path(part[1:-1]) for part in operation.path.split("/") if part.startswith("{")]
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        content = {"application/json": {"schema": schemas[operation.body]}}
        described["requestBody"] = {"required": True, "content": content}
    if operation.is_open:
        described["security"] = []
    return described


def _content(operation: Operation, schemas: dict[Any, Any]) -> dict[str, Any]:
    """Return the response by media type; that of a stream describes one of its events."""
    if not operation.responses:
        return {"text/plain": {"schema": {"type": "string"}}}
    content: dict[str, Any] = {"application/json": {"schema": _any_of(operation.responses, schemas)}}
    if operation.events:
        events = (*operation.events, operation.error)
        end = " The last one holds `[DONE]`." if operation.has_done else ""
        stands = {"contentMediaType": "application/json", "contentSchema": _any_of(events, schemas)}
        content["text/event-stream"] = {
            "schema": {
                "type": "object",
                "description": f"One server-sent event; comments between them carry progress.{end}",
                "required": ["data"],
                "properties": {"event": {"type": "string"}, "data": {"type": "string", **stands}},
            }
        }
    return content


def _any_of(types: tuple[Any, ...], schemas: dict[Any, Any]) -> dict[str, Any]:
    found = [schemas[type] for type in types]
    return found[0] if len(found) == 1 else {"anyOf": found}


def _name(operation: Operation) -> str:
    words = operation.path.removeprefix("/v1").replace("{", "by_").replace("}", "")
    return f"{operation.method}{words.replace('/', '_').replace('.', '_')}"


def _query(name: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": {"type": "string"}}


def _in_path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


async def openapi(_: Request) -> Response:
    """`GET /openapi.json`."""
    return Response(msgspec.json.encode(document()), media_type="application/json")


def routes() -> list[Route]:
    """Return the endpoint of this module."""
    return [Route("/openapi.json", openapi, methods=["GET"])]
