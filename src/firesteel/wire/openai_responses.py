"""`POST /v1/responses` and the client's WebSocket events: what is sent to us.

Spec: https://platform.openai.com/docs/api-reference/responses (types of openai-python 3.57.0). Items and tools
come in many kinds; they are kept as they were sent, and read one by one (`response_items`, `response_tools`).
Fields of type `Any` have no effect here: each stands in `responses_fields.NOTED` or `REFUSED`.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from firesteel.wire.guard import FiresteelBody
from firesteel.wire.openai_common import Limit, ServiceTier

Item = dict[str, Any]
"""One item of an input or output, as JSON."""

ResponseId = Annotated[str, Meta(min_length=1, max_length=256)]


class TextFormat(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`text.format`: what the answer must look like."""

    type: Literal["text", "json_object", "json_schema", "grammar"]
    schema: dict[str, Any] | None = None
    strict: bool | None = None
    name: str | None = None
    description: Any = None
    syntax: Literal["lark", "regex"] | None = None
    definition: str | None = None


class TextConfig(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`text`."""

    format: TextFormat | None = None
    verbosity: Any = None


class CacheOptions(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`prompt_cache_options`. `prewarm` computes the prompt and writes nothing."""

    prewarm: bool | None = None
    mode: Any = None
    ttl: Any = None
    comparison_response_id: Any = None


class ResponsesStreamOptions(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`stream_options`."""

    include_obfuscation: Any = None


class PromptBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What makes a prompt: shared by creating, counting and compacting."""

    model: Annotated[str, Meta(min_length=1)]
    input: str | list[Item] | None = None
    instructions: str | None = None
    previous_response_id: ResponseId | None = None
    tools: list[Item] | None = None
    tool_choice: str | Item | None = None
    parallel_tool_calls: bool | None = None
    text: TextConfig | None = None
    truncation: Literal["auto", "disabled"] | None = None
    prompt_cache_key: str | None = None

    conversation: Any = None
    personality: Any = None
    reasoning: Any = None
    service_tier: ServiceTier | None = None


class ResponsesBody(PromptBody, forbid_unknown_fields=True, kw_only=True):
    """The body of `POST /v1/responses`, and what `response.create` has in common with it."""

    background: bool | None = None
    firesteel: FiresteelBody | None = None
    generate: bool | None = None
    include: list[str] | None = None
    max_output_tokens: Limit | None = None
    metadata: dict[str, str] | None = None
    prompt_cache_options: CacheOptions | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: ResponsesStreamOptions | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None

    access_programs: Any = None
    background_options: Any = None
    client_metadata: Any = None
    context_management: Any = None
    image: Any = None
    max_tool_calls: Any = None
    moderation: Any = None
    prompt: Any = None
    prompt_cache_retention: Any = None
    safety_identifier: str | None = None
    user: str | None = None


class CompactBody(PromptBody, forbid_unknown_fields=True, kw_only=True):
    """The body of `POST /v1/responses/compact`."""

    image: Any = None
    prompt_cache_options: Any = None
    prompt_cache_retention: Any = None


class CreateEvent(ResponsesBody, forbid_unknown_fields=True, kw_only=True):
    """`response.create`. `stream_id` names the lane; without it all is served one after the other."""

    type: Literal["response.create"]
    stream_id: str | None = None


class SteerBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of `POST /v1/responses/{id}/steer`."""

    input: str | Annotated[list[Item], Meta(min_length=1)]


class SteerEvent(SteerBody, forbid_unknown_fields=True, kw_only=True):
    """`response.steer`."""

    type: Literal["response.steer"]
    previous_response_id: ResponseId


class InterruptEvent(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`response.interrupt`, as Codex sends it: end now; what is not complete is kept or not."""

    type: Literal["response.interrupt"]
    response_id: ResponseId
    mode: Literal["discard_partial_items", "keep_partial_items"] = "discard_partial_items"
    stream_id: Any = None


class AnyEvent(msgspec.Struct, kw_only=True):
    """What every client event has: enough to say which one it is and where its errors belong."""

    type: str = ""
    stream_id: Any = None
