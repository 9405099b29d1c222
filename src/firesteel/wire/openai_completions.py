"""`POST /v1/completions`: the request body and the response, whose shape the stream's chunks share.

Spec: https://platform.openai.com/docs/api-reference/completions (types of openai-python 3.54.0).
"""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from firesteel.wire.openai_common import Count, Firesteel, GenerationBody, WireUsage


class CompletionBody(GenerationBody, forbid_unknown_fields=True, kw_only=True):
    """The body of `POST /v1/completions`. A list of integers is one prompt of token ids."""

    prompt: str | Annotated[list[str | int | list[int]], Meta(min_length=1)]
    suffix: str | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Meta(ge=0, le=5)] | None = None
    best_of: Count | None = None


class CompletionLogprobs(msgspec.Struct, kw_only=True):
    """`logprobs` of one choice, one entry per token. Offsets are code points of the choice's text."""

    tokens: list[str] = []
    token_logprobs: list[float] = []
    top_logprobs: list[dict[str, float]] | None = None
    text_offset: list[int] = []


class CompletionChoice(msgspec.Struct, kw_only=True):
    """One answer, or what a chunk adds to it."""

    text: str
    index: int
    logprobs: CompletionLogprobs | None = None
    finish_reason: str | None = None


class Completion(msgspec.Struct, kw_only=True):
    """The whole response, or one SSE event of it."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: WireUsage | UnsetType | None = UNSET
    firesteel: Firesteel | UnsetType = UNSET
    service_tier: str | UnsetType = UNSET
