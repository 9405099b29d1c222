"""One method of one path, as the OpenAPI document describes it."""

from typing import Any, Literal

import msgspec

from firesteel.service.key_file import KeyScope
from firesteel.wire.errors import ErrorEnvelope
from firesteel.wire.fields import OPENAI, Fates


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One method of one path. No `responses` means plain text.

    `events` are what the data of a server-sent event may hold, where the response can be streamed; a stream
    ends with `[DONE]` where `has_done` says so, and with an `error` where it fails.
    """

    method: Literal["get", "post", "delete"]
    path: str
    summary: str
    body: type[msgspec.Struct] | None = None
    responses: tuple[Any, ...] = ()
    events: tuple[Any, ...] = ()
    has_done: bool = False
    error: type[msgspec.Struct] = ErrorEnvelope
    query: dict[str, dict[str, Any]] = {}  # parameters and their schemas
    also: dict[str, Any] = {}  # what a body must obey beside the schema of its struct
    fates: Fates = OPENAI  # of the body's fields
    is_open: bool = False  # answered without a key
    scope: KeyScope = "generate"  # what the key must be allowed to do
