"""Anthropic's endpoints."""

from typing import TYPE_CHECKING

import msgspec
from starlette.requests import Request
from starlette.routing import Route

from firesteel.server.answer import Answer
from firesteel.wire.anthropic import TokenCount

if TYPE_CHECKING:
    from firesteel.server.app import Service


class CountAnswer(Answer):
    """Answers with the number of the prompt's tokens; the engine is not asked."""

    is_counted = False

    async def _answer(self, body: bytes) -> None:
        self._check_model()
        count = self._pipeline.count_tokens(body, self._id, scope=self._scope, headers=self._request.headers)
        await self._send_whole(msgspec.json.encode(TokenCount(await count)))


async def messages(request: Request) -> Answer:
    """`POST /v1/messages`."""
    return _service(request).answer(request, "messages")


async def count_tokens(request: Request) -> Answer:
    """`POST /v1/messages/count_tokens`."""
    return _service(request).answer(request, "messages", CountAnswer)


def routes() -> list[Route]:
    """Return the endpoints of this module."""
    return [
        Route("/v1/messages", messages, methods=["POST"]),
        Route("/v1/messages/count_tokens", count_tokens, methods=["POST"]),
    ]


def _service(request: Request) -> "Service":
    service: Service = request.app.state.service
    return service
