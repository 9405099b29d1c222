"""The endpoints of llama.cpp's server that its editor clients use."""

from importlib.metadata import version
from typing import TYPE_CHECKING

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from firesteel.errors import Overloaded
from firesteel.server.answer import Answer
from firesteel.wire.infill import GenerationSettings, Modalities, Props, SamplingParams, Slot

if TYPE_CHECKING:
    from firesteel.server.app import Service


async def infill(request: Request) -> Answer:
    """`POST /infill`."""
    return _service(request).answer(request, "infill")


async def props(request: Request) -> Response:
    """`GET /props`: the model, its context and its sampling settings."""
    pipeline = _service(request).ready_pipeline()
    sampling = pipeline.info.sampling
    params = SamplingParams(
        temperature=sampling.temperature, top_k=sampling.top_k, top_p=sampling.top_p, min_p=sampling.min_p
    )
    body = Props(
        default_generation_settings=GenerationSettings(n_ctx=pipeline.context_tokens, params=params),
        total_slots=pipeline.admission.max_live,
        model_alias=pipeline.model_id,
        model_path=pipeline.model_id,
        chat_template=pipeline.info.chat_template or "",
        modalities=Modalities(),
        build_info=f"firesteel-{version('firesteel')}",
    )
    return _json(body)


async def slots(request: Request) -> Response:
    """`GET /slots`: as many busy places as there are requests; with `?fail_on_no_slot=1` a 503 when none is free."""
    pipeline = _service(request).ready_pipeline()
    num_slots, num_busy = pipeline.admission.max_live, pipeline.admission.num_in_flight
    if request.query_params.get("fail_on_no_slot") and num_busy >= num_slots:
        raise Overloaded("no slot is free; try again", retry_after=pipeline.admission.retry_after())
    context = pipeline.context_tokens
    return _json([Slot(id=i, n_ctx=context, is_processing=i < num_busy) for i in range(num_slots)])


def routes() -> list[Route]:
    """Return the endpoints of this module."""
    return [
        Route("/infill", infill, methods=["POST"]),
        Route("/props", props, methods=["GET"]),
        Route("/slots", slots, methods=["GET"]),
    ]


def _json(body: object) -> Response:
    return Response(msgspec.json.encode(body), media_type="application/json")


def _service(request: Request) -> "Service":
    service: Service = request.app.state.service
    return service
