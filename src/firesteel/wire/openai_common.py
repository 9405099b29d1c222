"""What the two OpenAI generation endpoints share. A field that is null counts as absent.

Fields of type `Any` have no effect here: each stands in `fields.NOTED` or `fields.REFUSED`.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from firesteel.wire.guard import FiresteelBody, GuardEvent, WireGuard
from firesteel.wire.response_format import ResponseFormat

MAX_CHOICES = 64  # prompts times n
MAX_INT64 = 2**63 - 1

Unit = Annotated[float, Meta(ge=0, le=1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Count = Annotated[int, Meta(ge=1, le=MAX_INT64)]
Limit = Annotated[int, Meta(ge=0, le=MAX_INT64)]
ServiceTier = Literal["auto", "default", "flex", "scale", "priority", "fast", "ultrafast"]
StopString = Annotated[str, Meta(min_length=1, max_length=1024)]


class StreamOptions(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`stream_options`."""

    include_usage: bool | None = None
    include_obfuscation: Any = None


class GenerationBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The fields that `POST /v1/chat/completions` and `POST /v1/completions` have in common."""

    model: Annotated[str, Meta(min_length=1)]
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=-1, le=MAX_INT64)] | None = None
    min_p: Unit | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=MAX_INT64)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: dict[int, Annotated[float, Meta(ge=-100, le=100)]] | None = None
    max_tokens: Limit | None = None
    n: Annotated[int, Meta(ge=1, le=16)] | None = None
    stop: StopString | Annotated[list[StopString], Meta(max_length=16)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    prompt_cache_key: str | None = None
    response_format: ResponseFormat | None = None
    service_tier: ServiceTier | None = None
    firesteel: FiresteelBody | None = None

    client_metadata: Any = None
    metadata: Any = None
    prompt_cache_options: Any = None
    prompt_cache_retention: Any = None
    safety_identifier: Any = None
    store: Any = None
    user: Any = None

    cache_prompt: Any = None
    grammar: Any = None
    id_slot: Any = None
    ignore_eos: Any = None
    min_tokens: Any = None
    repeat_penalty: Any = None
    repetition_penalty: Any = None
    samplers: Any = None


class PromptTokensDetails(msgspec.Struct, kw_only=True):
    """Of the prompt's tokens, how many were not computed again."""

    cached_tokens: int
    audio_tokens: int = 0


class CompletionTokensDetails(msgspec.Struct, kw_only=True):
    """Kinds of output tokens that OpenAI tells apart, and the predicted ones that were tried in vain."""

    reasoning_tokens: int = 0
    audio_tokens: int = 0
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0


class WireUsage(msgspec.Struct, kw_only=True):
    """OpenAI's `usage`. A prompt counts once, however many choices were made of it."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails = msgspec.field(default_factory=CompletionTokensDetails)


class Timings(msgspec.Struct, kw_only=True):
    """Seconds, each the longest of all choices (they run side by side)."""

    queue_seconds: float
    prefill_seconds: float
    decode_seconds: float


class DraftCount(msgspec.Struct, kw_only=True):
    """What one source of drafts did: in how many steps its guesses were verified, and how many were right."""

    source: str
    steps: int
    drafted_tokens: int
    accepted_tokens: int


class Speculation(msgspec.Struct, kw_only=True):
    """How output tokens came: steps that chose some, tokens that a grammar forced, and drafts; of all choices."""

    steps: int
    forced_tokens: int
    drafts: list[DraftCount]


class Firesteel(msgspec.Struct, kw_only=True):
    """Our own part of a response: the fields without effect (law 6), and where the time went.

    In a stream, a chunk in which the guard has something to say holds an `event` and nothing else.
    `malformed_calls` holds the raw text of tool calls that could not be read to their end.
    `cancelled` stands only in an answer that was cut short by the server, `steered` only in one that was
    broken off because the user's next words already were there.
    """

    noted: tuple[str, ...] | UnsetType = UNSET
    timings: Timings | UnsetType = UNSET
    event: GuardEvent | UnsetType = UNSET
    guard: WireGuard | UnsetType = UNSET
    speculation: Speculation | UnsetType = UNSET
    malformed_calls: list[str] | UnsetType = UNSET
    cancelled: bool | UnsetType = UNSET
    steered: bool | UnsetType = UNSET
