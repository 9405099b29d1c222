"""`GET /v1/models`."""

from collections.abc import Iterable
from typing import Literal

import msgspec


class ModelMeta(msgspec.Struct, kw_only=True):
    """The context in tokens as llama.cpp's clients read it: what is served, and what the model was trained for."""

    n_ctx: int
    n_ctx_train: int


class ModelCard(msgspec.Struct, kw_only=True):
    """One model that is served. Its context in tokens has as many names as there are clients."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "firesteel"
    max_model_len: int
    context_length: int
    meta: ModelMeta


class ModelList(msgspec.Struct, kw_only=True):
    """All models that are served."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


def encode_models(cards: Iterable[ModelCard]) -> bytes:
    """Return the body of `GET /v1/models`."""
    return msgspec.json.encode(ModelList(data=list(cards)))
