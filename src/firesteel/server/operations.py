"""What every route takes and gives: the source of the OpenAPI document.

A family of endpoints is one tuple. A new family adds its own to `OPERATIONS`; a test compares them with the
routes, in both directions.
"""

from typing import Any

from firesteel.server.operation import Operation
from firesteel.server.response_operations import RESPONSES
from firesteel.wire.anthropic import FATES as ANTHROPIC_FATES
from firesteel.wire.anthropic import (
    AnswerMessage,
    BlockDelta,
    BlockStart,
    BlockStop,
    CountBody,
    MessageDelta,
    MessagesBody,
    MessageStart,
    MessageStop,
    TokenCount,
)
from firesteel.wire.errors import AnthropicErrorEnvelope
from firesteel.wire.health import Health
from firesteel.wire.infill import FATES as INFILL_FATES
from firesteel.wire.infill import Infill, InfillBody, InfillPart, Props, Slot
from firesteel.wire.model_list import ModelCard, ModelList
from firesteel.wire.openai_chat import ChatBody, ChatChunk, ChatCompletion
from firesteel.wire.openai_completions import Completion, CompletionBody

OPENAI = (
    Operation(
        method="post",
        path="/v1/chat/completions",
        summary="Answer a conversation.",
        body=ChatBody,
        responses=(ChatCompletion,),
        events=(ChatChunk,),
        has_done=True,
    ),
    Operation(
        method="post",
        path="/v1/completions",
        summary="Continue a text, or fill a hole in it.",
        body=CompletionBody,
        also={"properties": {"prompt": {"minLength": 1}}},
        responses=(Completion,),
        events=(Completion,),
        has_done=True,
    ),
    Operation(
        method="get",
        path="/v1/models",
        summary="List the models that are served.",
        responses=(ModelList,),
        scope="models",
    ),
    Operation(
        method="get", path="/v1/models/{model}", summary="Describe one of them.", responses=(ModelCard,), scope="models"
    ),
)

BETA = {"beta": {"type": "string"}}

ANTHROPIC = (
    Operation(
        method="post",
        path="/v1/messages",
        summary="Answer a conversation, in Anthropic's words.",
        body=MessagesBody,
        responses=(AnswerMessage,),
        events=(MessageStart, BlockStart, BlockDelta, BlockStop, MessageDelta, MessageStop),
        error=AnthropicErrorEnvelope,
        query=BETA,
        also={"required": ["max_tokens"], "properties": {"max_tokens": {"type": "integer"}}},
        fates=ANTHROPIC_FATES,
    ),
    Operation(
        method="post",
        path="/v1/messages/count_tokens",
        summary="Count the tokens of its prompt.",
        body=CountBody,
        responses=(TokenCount,),
        error=AnthropicErrorEnvelope,
        query=BETA,
        fates=ANTHROPIC_FATES,
    ),
)

LLAMA = (
    Operation(
        method="post",
        path="/infill",
        summary="Fill a hole, in llama.cpp's words. `response_fields` chooses parts of the answer.",
        body=InfillBody,
        responses=(Infill, list[Infill], dict[str, Any]),
        events=(InfillPart, Infill, dict[str, Any]),
        fates=INFILL_FATES,
    ),
    Operation(
        method="get", path="/props", summary="Describe the model and its context.", responses=(Props,), scope="models"
    ),
    Operation(
        method="get",
        path="/slots",
        summary="Say how many requests run and could run.",
        responses=(list[Slot],),
        query={"fail_on_no_slot": {"type": "string"}},
        scope="models",
    ),
)

SERVER = (
    Operation(
        method="get", path="/health", summary="Say whether requests are answered.", responses=(Health,), is_open=True
    ),
    Operation(method="get", path="/metrics", summary="Prometheus metrics.", scope="metrics"),
    Operation(method="get", path="/openapi.json", summary="This document.", responses=(dict[str, Any],), is_open=True),
)

OPERATIONS: tuple[Operation, ...] = (*OPENAI, *RESPONSES, *ANTHROPIC, *LLAMA, *SERVER)
