"""The stored responses of a server: where they are, and what makes them leave when nobody writes any."""

import asyncio

from firesteel.config import ServerConfig, response_file
from firesteel.pipeline import Pipeline
from firesteel.responses.service import Responses
from firesteel.session.response_store import MEMORY, ResponseStore

NONE = "none"  # as `response_store`: nothing is stored
TIDY_SECONDS = 3600.0


def open_responses(pipeline: Pipeline, config: ServerConfig) -> Responses:
    """Return the responses of a server; `close` ends what this begins."""
    path = config.response_store or response_file()
    store = ResponseStore(
        MEMORY if path == NONE else path, max_seconds=config.response_seconds, max_bytes=config.response_bytes
    )
    responses = Responses(pipeline, store, keeps=path != NONE)
    responses.upkeep = asyncio.create_task(_tidy(store))
    return responses


async def _tidy(store: ResponseStore) -> None:
    while True:
        await asyncio.sleep(TIDY_SECONDS)
        await store.tidy()
