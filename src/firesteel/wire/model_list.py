"""`GET /v1/models`."""

from collections.abc import Iterable
from typing import Literal

import msgspec


class ModelCard(msgspec.Struct, kw_only=True):
    """One model that is served. `max_model_len` is its context in tokens, as vLLM calls it."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "firesteel"
    max_model_len: int | None = None


class ModelList(msgspec.Struct, kw_only=True):
    """All models that are served."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


def encode_models(cards: Iterable[ModelCard]) -> bytes:
    """Return the body of `GET /v1/models`."""
    return msgspec.json.encode(ModelList(data=list(cards)))
