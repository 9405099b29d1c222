"""`POST /infill` → `Request`."""

from collections.abc import Mapping

import msgspec

from firesteel.request.affinity import NO_HEADERS, session_of
from firesteel.request.guard import guard_of
from firesteel.types import FillPrompt, Request, Sampling
from firesteel.wire import fields
from firesteel.wire.decode import decode
from firesteel.wire.infill import FATES, InfillBody

_SAMPLING = ("temperature", "top_p", "min_p", "presence_penalty", "frequency_penalty")


def parse(body: bytes, *, request_id: str, defaults: Sampling, headers: Mapping[str, str] = NO_HEADERS) -> Request:
    """Return the request that `body` makes; `defaults` are the model's own sampling settings.

    Without a model, or with an empty name, the one that is served is meant. Raises `RequestError` that names
    the field and the remedy for whatever cannot be honoured.
    """
    infill = decode(body, InfillBody)
    return Request(
        id=request_id,
        kind="infill",
        model=infill.model or "",
        prompts=(_prompt(infill),),
        sampling=_sampling(infill, defaults),
        max_tokens=None if infill.n_predict in (None, -1) else infill.n_predict,
        stop=tuple(infill.stop or ()),
        n=infill.n_cmpl or 1,
        stream=bool(infill.stream),
        session=session_of(None, headers),
        guard=guard_of(infill.firesteel, headers),
        predict_seconds=infill.t_max_predict_ms / 1000 if infill.t_max_predict_ms else None,
        response_fields=tuple(infill.response_fields or ()),
        noted=fields.examine(infill, FATES),
    )


def _prompt(infill: InfillBody) -> FillPrompt:
    return FillPrompt(
        prefix=infill.input_prefix,
        suffix=infill.input_suffix,
        middle=infill.prompt or "",
        files=tuple((extra.filename, extra.text) for extra in infill.input_extra or ()),
    )


def _sampling(infill: InfillBody, defaults: Sampling) -> Sampling:
    given = {name: getattr(infill, name) for name in _SAMPLING if getattr(infill, name) is not None}
    if infill.top_k is not None:
        given["top_k"] = max(infill.top_k, 0)
    if infill.seed is not None and infill.seed != -1:  # -1 is llama.cpp's "random"
        given["seed"] = infill.seed
    return msgspec.structs.replace(defaults, **given)
