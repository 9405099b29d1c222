"""`/v1/responses` over HTTP: SSE, one JSON body, or in the background; and what can be done to a response."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from firesteel.errors import ResponseNotFound
from firesteel.pipeline import WAITING_SECONDS
from firesteel.responses.background import EventLog
from firesteel.responses.compact import Nobody, compact
from firesteel.responses.memory import listed
from firesteel.responses.service import Responses
from firesteel.server.answer import EVENT_STREAM, Answer, queued
from firesteel.server.query import choice, flag, whole_number
from firesteel.stream import response_events, sse
from firesteel.stream.response_events import Events, WireEvent
from firesteel.types import Delta, Event, Finish, Progress
from firesteel.visit import Place
from firesteel.wire.decode import decode
from firesteel.wire.openai_responses import CompactBody, Item, PromptBody, ResponsesBody, SteerBody
from firesteel.wire.response_events import Deleted, ItemPage
from firesteel.wire.response_object import Compaction, InputTokens, ResponseObject

if TYPE_CHECKING:
    from firesteel.server.app import Service

MAX_PAGE = 100
DEFAULT_PAGE = 20


class StreamAnswer(Answer):
    """An answer that streams the events of a response; a `Transport`."""

    is_eager = False
    is_streamed = True

    async def send(self, events: list[WireEvent]) -> None:
        """Stream `events`, if they are streamed at all."""
        if self.is_streamed:
            await self.stream_bytes(b"".join(map(response_events.sse, events)))

    async def progress(self, id: str, progress: Progress | Place, events: Events) -> None:
        """Keep the connection of a stream visibly alive."""
        if isinstance(progress, Place):
            self._note(progress)
        if self.is_streamed:
            await self.stream_bytes(sse.comment(_told(progress)))

    def observe(self, event: Event) -> None:
        """Count what the engine says."""
        if isinstance(event, Delta | Finish):
            self._observe([(0, event)])

    async def stream_bytes(self, data: bytes) -> None:
        """Send a part of the stream."""
        if not self._has_begun:
            await self._begin(EVENT_STREAM)
        await self._write(data)

    async def follow(self, log: EventLog, after: int) -> None:
        """Stream what is in `log` and what comes, from the event after number `after` on."""
        async for events in log.read(after, WAITING_SECONDS):
            await self.stream_bytes(b"".join(map(response_events.sse, events)) or sse.comment("in progress"))
        await self.stream_bytes(b"")
        await self._write(sse.DONE, last=True)

    async def whole(self, response: ResponseObject) -> None:
        """Send the response in one body."""
        await self._send_whole(msgspec.json.encode(response))


def _told(progress: Progress | Place) -> str:
    if isinstance(progress, Place):
        return queued(progress)
    return f"prefill {progress.num_computed}/{progress.num_prompt}"


class CreateAnswer(StreamAnswer):
    """Answers `POST /v1/responses`."""

    service: "Service"

    async def _answer(self, body: bytes) -> None:
        create = decode(body, ResponsesBody)
        self.is_streamed = bool(create.stream)
        log = EventLog(self.visit) if create.background else None
        turn = await self.service.ready_responses().turn(
            create,
            log or self,
            request_id=self._id,
            scope=self._scope,
            num_bytes=len(body),
            headers=self._request.headers,
        )
        if log is None:
            await turn.run()
            self._status = turn.status
            await (self._write(sse.DONE, last=True) if self.is_streamed else self.whole(turn.response))
        else:
            await self.service.background.start(turn, log)
            self._closes_visit = False
            await (self.follow(log, -1) if self.is_streamed else self.whole(turn.response))


class FollowAnswer(StreamAnswer):
    """Answers `GET /v1/responses/{id}?stream=true`."""

    is_counted = False
    log: EventLog
    after: int

    async def _answer(self, body: bytes) -> None:
        await self.follow(self.log, self.after)


class JsonAnswer(Answer, ABC):
    """Answers a POST with JSON."""

    is_counted = False
    service: "Service"

    @property
    def responses(self) -> Responses:
        """The responses of this server."""
        return self.service.ready_responses()

    @abstractmethod
    async def value(self, body: bytes) -> Any:
        """Return what to answer `body` with."""

    async def _answer(self, body: bytes) -> None:
        await self._send_whole(msgspec.json.encode(await self.value(body)))


class CountAnswer(JsonAnswer):
    """Answers `POST /v1/responses/input_tokens`."""

    async def value(self, body: bytes) -> InputTokens:
        """Count the tokens of a prompt."""
        self._check_model()
        num_tokens = await self.responses.count_tokens(decode(body, PromptBody), self._scope, len(body))
        return InputTokens(input_tokens=num_tokens)


class CompactAnswer(JsonAnswer):
    """Answers `POST /v1/responses/compact`."""

    is_counted = True

    async def value(self, body: bytes) -> Compaction:
        """Compact a conversation."""
        wanted = decode(body, CompactBody)
        size = len(body)
        nobody = Nobody(self.visit)
        return await compact(self.responses, wanted, nobody, request_id=self._id, scope=self._scope, num_bytes=size)


class SteerAnswer(JsonAnswer):
    """Answers `POST /v1/responses/{id}/steer`."""

    async def value(self, body: bytes) -> msgspec.Raw:
        """Steer a response that somebody else reads."""
        given, id = decode(body, SteerBody).input, self._request.path_params["id"]
        _, data = await self.responses.steer(id, given, self._scope)
        return msgspec.Raw(data)


def _service(request: Request) -> "Service":
    service: Service = request.app.state.service
    return service


async def create(request: Request) -> Answer:
    """`POST /v1/responses`."""
    return _service(request).answer(request, "responses", CreateAnswer)


async def count_tokens(request: Request) -> Answer:
    """`POST /v1/responses/input_tokens`."""
    return _service(request).answer(request, "responses", CountAnswer)


async def compact_conversation(request: Request) -> Answer:
    """`POST /v1/responses/compact`."""
    return _service(request).answer(request, "responses", CompactAnswer)


async def steer(request: Request) -> Answer:
    """`POST /v1/responses/{id}/steer`."""
    return _service(request).answer(request, "responses", SteerAnswer)


async def retrieve(request: Request) -> Any:
    """`GET /v1/responses/{id}`; with `stream=true`, the events of one in the background."""
    service, id, scope = _service(request), request.path_params["id"], request.state.scope
    responses = service.ready_responses()
    is_streamed, after = flag(request, "stream"), whole_number(request, "starting_after", -1, least=-1)
    if is_streamed:
        log = service.background.log(scope, id)
        if log is None:
            raise ResponseNotFound(
                f"no events of {id!r} are kept here: read it without `stream`, or send one with `background: true`"
            )
        answer = service.answer(request, "responses", FollowAnswer)
        answer.log, answer.after = log, after
        return answer
    turn = responses.running(id, scope)
    body = msgspec.json.encode(turn.response) if turn else (await responses.stored(id, scope)).response
    return Response(body, media_type="application/json")


async def delete(request: Request) -> Response:
    """`DELETE /v1/responses/{id}`."""
    service, id, scope = _service(request), request.path_params["id"], request.state.scope
    await service.ready_responses().delete(id, scope)
    service.background.forget(scope, id)
    return _json(Deleted(id=id))


async def cancel(request: Request) -> Response:
    """`POST /v1/responses/{id}/cancel`."""
    id, scope = request.path_params["id"], request.state.scope
    responses = _service(request).ready_responses()
    turn = responses.running(id, scope)
    if turn is None:
        return Response((await responses.stored(id, scope)).response, media_type="application/json")
    turn.stop("cancelled")
    await turn.ended.wait()
    return Response(msgspec.json.encode(turn.response), media_type="application/json")


async def input_items(request: Request) -> Response:
    """`GET /v1/responses/{id}/input_items`."""
    id, scope = request.path_params["id"], request.state.scope
    responses = _service(request).ready_responses()
    await responses.stored(id, scope)
    return _json(_page(request, await responses.inputs(id, scope)))


def _page(request: Request, items: list[Item]) -> ItemPage:
    items = [listed(item, f"item_{index}") for index, item in enumerate(items)]
    if choice(request, "order", ("desc", "asc")) == "desc":
        items.reverse()
    limit = whole_number(request, "limit", DEFAULT_PAGE, least=1, most=MAX_PAGE)
    after = request.query_params.get("after")
    start = next((index + 1 for index, item in enumerate(items) if item["id"] == after), 0) if after else 0
    page = items[start : start + limit]
    first, last = (page[0]["id"], page[-1]["id"]) if page else ("", "")
    has_more = start + limit < len(items)
    return ItemPage(data=page, first_id=first, last_id=last, has_more=has_more)


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")


def routes() -> list[Route]:
    """Return the endpoints of this module."""
    return [
        Route("/v1/responses", create, methods=["POST"]),
        Route("/v1/responses/input_tokens", count_tokens, methods=["POST"]),
        Route("/v1/responses/compact", compact_conversation, methods=["POST"]),
        Route("/v1/responses/{id}", retrieve, methods=["GET"]),
        Route("/v1/responses/{id}", delete, methods=["DELETE"]),
        Route("/v1/responses/{id}/cancel", cancel, methods=["POST"]),
        Route("/v1/responses/{id}/steer", steer, methods=["POST"]),
        Route("/v1/responses/{id}/input_items", input_items, methods=["GET"]),
    ]
