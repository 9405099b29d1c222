"""The fate of every field of a Responses request (law 6): honoured, refused or noted.

docs/reference/responses.md repeats these tables, and tests compare them.
"""

from typing import Any

import msgspec

from firesteel.errors import RequestError
from firesteel.wire.fields import Refusal

NOTED: dict[str, str] = {
    "access_programs": "there are no access programs here",
    "background_options": "background responses are computed as soon as there is room",
    "client_metadata": "has no meaning here",
    "context_management": "nothing is compacted unasked; `POST /v1/responses/compact` compacts",
    "image": "text only",
    "include": "only `message.output_text.logprobs` adds anything",
    "max_tool_calls": "it counts tools that the server runs, and none does here",
    "personality": "say it in the instructions",
    "prompt_cache_options.comparison_response_id": "there are no cache diagnostics; see `usage`",
    "prompt_cache_options.mode": "the prefix cache is always on",
    "prompt_cache_options.ttl": "what is least likely to be wanted again leaves the cache first",
    "prompt_cache_retention": "what is least likely to be wanted again leaves the cache first",
    "reasoning": "the models served have no reasoning phase",
    "safety_identifier": "no user accounts are kept",
    "stream_options.include_obfuscation": "events carry no padding",
    "text.format.description": "not shown to the model; say it in a message",
    "text.verbosity": "the models served do not know it; say it in a message",
    "user": "no user accounts are kept",
    "input.content.input_image": "text only: the model is told that an image was left out",
    "input.content.input_file": "text only: the model is told that a file was left out",
    "input.content.input_audio": "text only: the model is told that an audio clip was left out",
    "input.reasoning": "earlier reasoning is not shown to the model",
    "input.configuration_update": "the models served have no reasoning phase",
    "input.compaction_trigger": "`POST /v1/responses/compact` compacts",
    "input.web_search_call": "calls of tools that a server ran are not shown to the model",
    "input.file_search_call": "calls of tools that a server ran are not shown to the model",
    "input.image_generation_call": "calls of tools that a server ran are not shown to the model",
    "input.code_interpreter_call": "calls of tools that a server ran are not shown to the model",
    "input.mcp_list_tools": "calls of tools that a server ran are not shown to the model",
    "input.mcp_call": "calls of tools that a server ran are not shown to the model",
    "tools.web_search": "there is no web search here: the model is not shown the tool",
    "tools.image_generation": "only text can be made: the model is not shown the tool",
}
"""Fields and kinds that real clients send, accepted without effect and named in `firesteel.noted`: why."""

REFUSED: dict[str, Refusal] = {
    "conversation": Refusal("conversations are not kept; send `previous_response_id` instead"),
    "moderation": Refusal("no moderation is done; remove the field"),
    "prompt": Refusal("there are no stored prompts; send `instructions` and `input` instead"),
}
"""Fields that are a 400 unless they are null."""


def examine(body: msgspec.Struct) -> tuple[str, ...]:
    """Return the paths of the noted fields of `body`. Raises `RequestError` for one that cannot be honoured."""
    noted: list[str] = []
    for name in body.__struct_fields__:
        value = getattr(body, name)
        if name in REFUSED and value is not None:
            raise RequestError(f"`{name}` cannot be honoured: {REFUSED[name].remedy}", param=name)
        if name in NOTED and name != "include" and _asks(value):
            noted.append(name)
        elif isinstance(value, msgspec.Struct):
            noted += _nested(value, name)
    return tuple(noted)


def _nested(value: msgspec.Struct, parent: str) -> list[str]:
    noted = []
    for name in value.__struct_fields__:
        inner, path = getattr(value, name), f"{parent}.{name}"
        if path in NOTED and _asks(inner):
            noted.append(path)
        elif isinstance(inner, msgspec.Struct):
            noted += _nested(inner, path)
    return noted


def _asks(value: Any) -> bool:
    """Return whether `value` asks for something: null, false and empty values do not."""
    return bool(value) or (value == 0 and value is not False and value is not None)
