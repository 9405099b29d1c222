"""The response object at its beginning: what it repeats of the request."""

import time
from typing import Any
from uuid import uuid4

import msgspec

from firesteel.request.openai_responses import Asked
from firesteel.wire.openai_responses import Item, ResponsesBody
from firesteel.wire.response_object import ResponseObject

_FUNCTION: Item = {"description": None, "parameters": None, "strict": None}
_NO_REASONING = msgspec.Raw(b'{"effort":null,"summary":null}')


def new_id() -> str:
    """Return the id of a new response."""
    return f"resp_{uuid4().hex}"


def response_of(asked: Asked, model: str) -> ResponseObject:
    """Return the response to `asked`, of which nothing has been computed."""
    body, sampling = asked.body, asked.request.sampling
    return ResponseObject(
        id=new_id(),
        created_at=int(time.time()),
        background=bool(body.background),
        instructions=body.instructions,
        max_output_tokens=body.max_output_tokens,
        metadata=body.metadata or {},
        model=model,
        parallel_tool_calls=body.parallel_tool_calls is not False,
        previous_response_id=body.previous_response_id,
        prompt_cache_key=body.prompt_cache_key,
        reasoning=_reasoning(body),
        safety_identifier=body.safety_identifier,
        service_tier=asked.request.tier or "default",
        store=body.store is not False,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_logprobs=body.top_logprobs or 0,
        text=_text(body),
        tool_choice=msgspec.Raw(msgspec.json.encode("auto" if body.tool_choice is None else body.tool_choice)),
        tools=msgspec.Raw(msgspec.json.encode([_tool(tool) for tool in body.tools or ()])),
        truncation=body.truncation or "disabled",
        user=body.user,
    )


def _reasoning(body: ResponsesBody) -> msgspec.Raw:
    if not isinstance(body.reasoning, dict):
        return _NO_REASONING
    return msgspec.Raw(msgspec.json.encode({"effort": None, "summary": None, **body.reasoning}))


def _text(body: ResponsesBody) -> msgspec.Raw:
    text: dict[str, Any] = {"format": {"type": "text"}}
    if body.text is not None and body.text.format is not None:
        given = msgspec.to_builtins(body.text.format)
        text["format"] = {name: value for name, value in given.items() if value is not None}
    if body.text is not None and body.text.verbosity is not None:
        text["verbosity"] = body.text.verbosity
    return msgspec.Raw(msgspec.json.encode(text))


def _tool(tool: Item) -> Item:
    """Write out the fields of a function that strict clients expect."""
    return {**_FUNCTION, **tool} if tool.get("type") == "function" else tool
