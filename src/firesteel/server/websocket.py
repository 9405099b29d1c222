"""`/v1/responses` as a WebSocket: many responses over one connection, each in its lane.

What a client sends is in `wire.openai_responses`; docs/reference/websocket.md describes the protocol.
"""

import asyncio
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from firesteel.errors import FiresteelError, NotReady, RateLimited, RequestError, ResponseNotFound
from firesteel.responses.memory import MAX_CONNECTION, Recent
from firesteel.responses.service import Responses
from firesteel.responses.steering import SteerRefused, refused
from firesteel.server.answer import ClientGone
from firesteel.server.faults import fault_of
from firesteel.server.lanes import Lane, LaneTransport
from firesteel.server.observe import request_id
from firesteel.service.keyring import Caller
from firesteel.stream.response_events import Events, WireEvent
from firesteel.visit import Visit
from firesteel.wire.decode import decode
from firesteel.wire.errors import encode_error
from firesteel.wire.openai_responses import AnyEvent, CreateEvent, InterruptEvent, SteerEvent
from firesteel.wire.socket_errors import connection_expired, error_frame, invalid_lane, too_many_bytes, too_many_lanes

if TYPE_CHECKING:
    from firesteel.server.app import Service

MAX_LANES = 32  # named ones of a connection
MAX_ACTIVE = 16  # responses of a connection that are computed together
MAX_WAITING = 64  # requests of a lane that wait for their turn
MAX_BODIES = 2  # of the largest size, which the requests of a connection may take together until they are answered
GOING_AWAY, TRY_AGAIN = 1001, 1013

_LANE = re.compile(r"[A-Za-z0-9_.-]{1,256}")


class Connection:
    """One client. Everything that belongs to it ends with it."""

    def __init__(self, service: "Service", socket: WebSocket, caller: Caller) -> None:
        self.service = service
        self.caller = caller
        self.scope = caller.scope
        self.headers = socket.headers
        self.known = Recent(MAX_CONNECTION)
        self.active = asyncio.Semaphore(MAX_ACTIVE)
        self._socket = socket
        self._lanes: dict[str | None, Lane] = {}
        self.num_bytes = 0  # of the requests that wait or are answered
        self._sending = asyncio.Lock()
        self._expired = False

    @property
    def responses(self) -> Responses:
        """The responses of this server. Raises NotReady."""
        return self.service.ready_responses()

    @property
    def is_busy(self) -> bool:
        """Whether a request is being answered, or waits for its turn."""
        return any(not lane.idle.is_set() for lane in self._lanes.values())

    async def serve(self) -> None:
        """Serve until the client leaves, takes nothing any more, or has been here for too long."""
        timer = asyncio.get_running_loop().call_later(self.service.config.socket_seconds, self._expire)
        self._reading = asyncio.ensure_future(self._read_all())
        self.service.sockets.add(self)
        try:
            await self._reading
        except asyncio.CancelledError:
            if not self._reading.cancelled():
                raise
        finally:
            timer.cancel()
            self.service.sockets.discard(self)
            self._reading.cancel()
            await asyncio.gather(*(lane.close() for lane in self._lanes.values()))
            self._remember()

    def _remember(self) -> None:
        """Keep what only this connection knows: the tokens of its conversations, which may come back as text."""
        pipeline = self.service.pipeline
        if pipeline is not None:
            for (scope, _), exact in self.known.kept.items():
                pipeline.remember(scope, exact.tokens)

    async def _read_all(self) -> None:
        with suppress(ClientGone):
            while (message := await self._socket.receive())["type"] != "websocket.disconnect":
                await self._read(message.get("text") or message.get("bytes") or "")

    def give_up(self) -> None:
        """Leave a client that takes nothing any more."""
        self._reading.cancel()

    async def _read(self, frame: str | bytes) -> None:
        """Take one client event. What is wrong with it is answered by an error frame."""
        lane = None
        try:
            data = frame.encode() if isinstance(frame, str) else frame
            kind = decode(data, AnyEvent)
            lane = kind.stream_id
            self._identify()
            if kind.type == "response.create":
                self._create(decode(data, CreateEvent), len(data))
            elif kind.type == "response.steer":
                await self._steer(decode(data, SteerEvent))
            elif kind.type == "response.interrupt":
                self._interrupt(decode(data, InterruptEvent))
            else:
                raise _unknown(kind.type)
        except ClientGone:
            raise
        except Exception as error:
            await self.send_bytes(error_frame(fault_of(error), lane))

    def _identify(self) -> None:
        """Ask for the key again: it may have ended."""
        self.caller = self.service.keyring.identify(self.headers)
        self.caller.check("generate")

    def _require_time(self) -> None:
        if self._expired:
            raise connection_expired(self.service.config.socket_seconds)

    def _create(self, create: CreateEvent, num_bytes: int) -> None:
        self._require_time()
        if create.background:
            raise RequestError("`background` is for HTTP; remove it", param="background")
        lane = self._lane(create.stream_id)
        if lane.num_waiting >= MAX_WAITING:
            message = f"{MAX_WAITING} requests of this lane are waiting; wait for the first ones"
            raise RequestError(message, code="rate_limit_exceeded")
        if self.num_bytes + num_bytes > (most := MAX_BODIES * self.service.config.max_body_bytes):
            raise too_many_bytes(most)
        lane.add(create, num_bytes)

    def _lane(self, stream_id: str | None) -> Lane:
        lane = self._lanes.get(stream_id)
        if lane is None:
            if stream_id is not None and not _LANE.fullmatch(stream_id):
                raise invalid_lane(stream_id)
            if stream_id is not None and len(self._lanes) - (None in self._lanes) >= MAX_LANES:
                raise too_many_lanes(MAX_LANES)
            lane = self._lanes[stream_id] = Lane(self, stream_id)
        return lane

    async def _steer(self, steer: SteerEvent) -> None:
        self._require_time()  # what succeeds a response would hold the connection
        id = steer.previous_response_id
        try:
            await self.responses.steer(id, steer.input, self.scope, self.known)
        except (SteerRefused, RateLimited) as error:
            running = self.responses.running(id, self.scope)
            events = running.events if running is not None and running.is_of(self.known) else Events()
            await self.send([refused(id, steer.input, error, events)])

    def _interrupt(self, interrupt: InterruptEvent) -> None:
        turn = self.responses.running(interrupt.response_id, self.scope)
        if turn is None:
            message = f"`response_id`: no response {interrupt.response_id!r} is being written"
            raise ResponseNotFound(message, param="response_id")
        turn.stop("interrupted", keep_partial=interrupt.mode == "keep_partial_items")

    async def send(self, events: list[WireEvent]) -> None:
        """Send `events`, waiting for a slow reader; one that takes nothing for too long counts as gone."""
        async with self._sending:
            for _, data in events:
                await self._send_now(data)

    async def send_bytes(self, data: bytes) -> None:
        """Send one frame."""
        async with self._sending:
            await self._send_now(data)

    async def _send_now(self, data: bytes) -> None:
        try:
            async with asyncio.timeout(self.service.config.idle_write_seconds):
                await self._socket.send({"type": "websocket.send", "text": data.decode()})
        except (OSError, RuntimeError, WebSocketDisconnect):  # a timeout is an OSError; a closed socket says Runtime
            raise ClientGone from None

    def _expire(self) -> None:
        """Take no new requests; leave when those that run have ended."""
        self._expired = True
        self._leaving = asyncio.create_task(self._leave())

    async def _leave(self) -> None:
        with suppress(ClientGone):
            await self.send_bytes(error_frame(connection_expired(self.service.config.socket_seconds)))
        for lane in list(self._lanes.values()):
            await lane.idle.wait()
        await self._socket.close(GOING_AWAY)

    def transport(self, visit: Visit) -> LaneTransport:
        """Return where the events of a request go."""
        return LaneTransport(self, self.service.metrics, visit)


def _unknown(kind: str) -> RequestError:
    known = "'response.create', 'response.steer' or 'response.interrupt'"
    return RequestError(f"`type`: {kind!r:.80} is no event of this connection; send {known}", param="type")


async def endpoint(socket: WebSocket) -> None:
    """`/v1/responses` as a WebSocket."""
    service: Service = socket.app.state.service
    try:
        caller = service.keyring.identify(socket.headers)
        caller.check("generate")
        service.ready_responses()
    except FiresteelError as error:
        headers = {"retry-after": str(round(error.retry_after))} if isinstance(error, NotReady) else {}
        body = Response(encode_error(error), error.status, headers, media_type="application/json")
        await socket.send_denial_response(body)
        return
    id = getattr(socket.state, "request_id", None) or request_id(socket.headers)  # the one that is logged
    await socket.accept(headers=[(b"x-request-id", id.encode())])
    service.metrics.socket_opened()
    await Connection(service, socket, caller).serve()
