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
from firesteel.wire.fields import Fates

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
    for operation in OPERATIONS:
        if operation.body is not None:
            _narrow(plain["components"]["schemas"], operation.body.__name__, operation.fates)
    return plain


def _narrow(components: dict[str, Any], body: str, fates: Fates) -> None:
    """Say in the schema of `body` which values of refused fields ask for nothing, since no other is taken."""
    for path, refusal in fates.refused.items():
        *parents, name = path.split(".")
        owners = [components[body]]
        for parent in parents:
            owners = [owner for found in _properties(owners, parent) for owner in _objects(found, components)]
        for owner in owners:
            if name in owner.get("properties", {}):
                described = {"description": f"Cannot be honoured: {refusal.remedy}."}
                owner["properties"][name] = {"enum": [None, *refusal.neutral], "default": None} | described


def _properties(owners: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [owner["properties"][name] for owner in owners if name in owner.get("properties", {})]


def _objects(schema: dict[str, Any], components: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the schemas of the objects that `schema` allows, also in lists."""
    if "$ref" in schema:
        return _objects(components[schema["$ref"].rpartition("/")[2]], components)
    inner = [*schema.get("anyOf", ()), *([schema["items"]] if isinstance(schema.get("items"), dict) else ())]
    return [schema] if "properties" in schema else [found for part in inner for found in _objects(part, components)]


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
    parameters = [{"name": name, "in": "query", "schema": schema} for name, schema in operation.query.items()]
    parameters += [_in_path(part[1:-1]) for part in operation.path.split("/") if part.startswith("{")]
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        schema = schemas[operation.body]
        content = {"application/json": {"schema": {"allOf": [schema, operation.also]} if operation.also else schema}}
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


def _in_path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


async def openapi(_: Request) -> Response:
    """`GET /openapi.json`."""
    return Response(msgspec.json.encode(document()), media_type="application/json")


def routes() -> list[Route]:
    """Return the endpoint of this module."""
    return [Route("/openapi.json", openapi, methods=["GET"])]
