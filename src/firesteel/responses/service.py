"""All responses of a server: those that run, those that can be gone on from, and what waits for them."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping

import msgspec

from firesteel.errors import RequestError, ResponseNotFound
from firesteel.pipeline import Pipeline
from firesteel.request import openai_responses
from firesteel.request.affinity import NO_HEADERS
from firesteel.request.openai_responses import Asked
from firesteel.responses.memory import (
    MAX_RECENT,
    Exact,
    Known,
    Origin,
    Recent,
    input_of,
    known_of,
    output_of,
    previous_not_found,
    restore,
)
from firesteel.responses.references import resolved
from firesteel.responses.steering import Steer, SteerRefused, new_steer
from firesteel.responses.transport import Transport
from firesteel.responses.turn import Turn
from firesteel.session.response_store import ResponseStore, Stored
from firesteel.stream.response_events import Events, WireEvent
from firesteel.types import ChatPrompt
from firesteel.wire.openai_responses import Item, PromptBody, ResponsesBody
from firesteel.wire.response_object import ResponseObject

MAX_PENDING = 1024  # responses whose steering waits for tool outputs


class Responses:
    """Belongs to the event loop. `store` outlives the process, or not, as it was opened.

    Where it does not keep (`keeps`), a response ends with its request or its connection.
    """

    def __init__(self, pipeline: Pipeline, store: ResponseStore, *, keeps: bool = True) -> None:
        self.pipeline = pipeline
        self.store = store
        self._keeps = keeps
        self.active: dict[str, Turn] = {}
        self.upkeep: asyncio.Task[None] | None = None
        self._recent = Recent(MAX_RECENT)
        self._pending: OrderedDict[tuple[str, str], list[Item]] = OrderedDict()

    async def turn(
        self,
        body: ResponsesBody,
        transport: Transport,
        *,
        request_id: str,
        scope: str = "",
        num_bytes: int = 0,
        headers: Mapping[str, str] = NO_HEADERS,
        connection: Recent | None = None,
        stream_id: str | None = None,
    ) -> Turn:
        """Return what answers `body`, ready to run.

        `connection` holds what the client's socket can go on from. Raises RequestError for what cannot be
        honoured, Overloaded when the queue is full.
        """
        self.pipeline.admission.require_room(owner=scope)
        body = self._with_store(body)
        known = await self.known(body.previous_response_id, scope, connection)
        items = await resolved(body.input, self.store, scope)
        if items is not body.input:  # references, which are longer than they look
            num_bytes = max(num_bytes, len(msgspec.json.encode(items)))
        body = msgspec.structs.replace(body, input=items)
        asked = openai_responses.parse(
            body,
            known.transcript,
            request_id=request_id,
            defaults=self.pipeline.info.sampling,
            headers=headers,
            queued=tuple(self._pending.get((scope, known.id), ())),
        )
        self._pending.pop((scope, known.id), None)
        return Turn(self, asked, transport, Origin(scope, num_bytes, connection, known), Events(stream_id))

    def _with_store(self, body: ResponsesBody) -> ResponsesBody:
        """Return `body`, which says whether it is stored. Raises RequestError for what needs to be and cannot."""
        if self._keeps:
            if body.background and body.store is False:
                raise RequestError("`background` needs a stored response; remove `store: false`", param="background")
            return body
        if body.store or body.background:
            field = "store" if body.store else "background"
            message = f"`{field}`: this server keeps no responses; remove it, and send the whole conversation each time"
            raise RequestError(message, param=field)
        return msgspec.structs.replace(body, store=False)

    async def known(self, id: str | None, scope: str, connection: Recent | None) -> Known:
        """Return the conversation that ends with the response `id`. Raises RequestError when it is not here."""
        if id is None:
            return Known()
        known = connection.get(scope, id) if connection is not None else None
        known = known or self._recent.get(scope, id) or await restore(self.store, scope, id)
        if known is None:
            raise previous_not_found(id)
        if known.is_stored:
            self._recent.put(scope, known)
        return known

    def asked_next(self, asked: Asked, known: Known, steers: list[Steer]) -> Asked:
        """Return the request that goes on from `known`, which `asked` led to, with what was steered in."""
        items = [item for steer in steers for item in steer.items]
        body = msgspec.structs.replace(asked.body, input=items, previous_response_id=known.id)
        defaults = self.pipeline.info.sampling
        return openai_responses.parse(body, known.transcript, request_id=asked.request.id, defaults=defaults)

    def exact(self, asked: Asked, scope: str, connection: Recent | None) -> list[int]:
        """Return the tokens that the prompt of `asked` begins with, where its connection knows them."""
        exact = connection.exact(scope, asked.body.previous_response_id) if connection is not None else None
        return exact.tokens if exact is not None and exact.goes_on(asked) else []

    def keep(
        self, response: ResponseObject, asked: Asked, scope: str, connection: Recent | None, tokens: list[int]
    ) -> Known:
        """Remember a response that has ended, so that conversations go on from it.

        `tokens` are all of its conversation where it is complete; only a connection keeps them.
        """
        output: list[Item] = msgspec.to_builtins(response.output)
        num_tokens = response.usage.total_tokens if response.usage is not None else 0
        known = known_of(response.id, asked.transcript.said(output), num_tokens, is_stored=response.store)
        if connection is not None:
            connection.put(scope, known)
            self._keep_exact(known, asked, scope, connection, tokens)
        if response.store:
            self._recent.put(scope, known)
            self.store.put(scope, _stored(response, asked))
        return known

    def _keep_exact(self, known: Known, asked: Asked, scope: str, connection: Recent, tokens: list[int]) -> None:
        """Keep the tokens of an answer that the model ended itself: a stop string leaves calls without their end."""
        prompt = asked.request.prompts[0]
        assert isinstance(prompt, ChatPrompt)
        if tokens and not asked.request.stop and known.transcript.messages[-1].role == "assistant":
            connection.keep_exact(scope, known.id, Exact(tokens, asked.body.instructions, prompt.tools))

    def keep_failed(self, response: ResponseObject, asked: Asked, scope: str) -> None:
        """Store a response that failed, so that it can be read; no conversation goes on from it."""
        if response.store:
            self.store.put(scope, _stored(response, asked))

    def leave_pending(self, scope: str, id: str, items: list[Item]) -> None:
        """Keep `items` until the client goes on from `id`, and put them before what it sends then."""
        self._pending.setdefault((scope, id), []).extend(items)
        while len(self._pending) > MAX_PENDING:
            self._pending.popitem(last=False)

    def running(self, id: str, scope: str) -> Turn | None:
        """Return what writes the response `id` at this moment."""
        turn = self.active.get(id)
        return turn if turn is not None and turn.scope == scope else None

    async def steer(self, id: str, given: str | list[Item], scope: str, connection: Recent | None = None) -> WireEvent:
        """Steer `given` into the response `id`; return the event that its reader is sent.

        Raises SteerRefused, and what refuses a request beyond a limit.
        """
        turn = self.running(id, scope)
        if turn is None:
            try:
                await self.known(id, scope, connection)
            except RequestError:
                message = f"there is no response {id!r}; send the id of one that is being written"
                raise SteerRefused("response_not_found", message) from None
            message = "the response has ended; send the words as a new turn"
            raise SteerRefused("response_already_completed", message)
        return await turn.steer(new_steer(id, given))

    async def stored(self, id: str, scope: str) -> Stored:
        """Return a stored response that has ended. Raises ResponseNotFound."""
        found = await self.store.get(scope, id)
        if found is None:
            raise ResponseNotFound(f"there is no response {id!r} here; send the id of one that was stored")
        return found

    async def history(self, id: str, scope: str) -> list[Item]:
        """Return all items of the stored conversation that ends with the response `id`; none for ""."""
        chain = await self.store.chain(scope, id) if id else []
        return [item for stored in chain for item in (*input_of(stored), *output_of(stored))]

    async def inputs(self, id: str, scope: str) -> list[Item]:
        """Return all items that the stored response `id` answers: the conversation before it and what it added."""
        *before, last = await self.store.chain(scope, id)
        earlier = [item for stored in before for item in (*input_of(stored), *output_of(stored))]
        return [*earlier, *input_of(last)]

    async def delete(self, id: str, scope: str) -> None:
        """Forget a stored response, whose conversation then cannot be gone on from. Raises ResponseNotFound."""
        if not await self.store.delete(scope, id):
            raise ResponseNotFound(f"there is no response {id!r} here; send the id of one that was stored")
        self._recent.drop(scope, id)

    async def count_tokens(self, body: PromptBody, scope: str, num_bytes: int) -> int:
        """Return how many tokens the prompt of `body` has. Raises RequestError as `turn` does."""
        known = await self.known(body.previous_response_id, scope, None)
        full = ResponsesBody(**{name: getattr(body, name) for name in PromptBody.__struct_fields__})
        full.input = await resolved(body.input, self.store, scope)
        asked = openai_responses.parse(full, known.transcript, request_id="", defaults=self.pipeline.info.sampling)
        return await self.pipeline.num_tokens(asked.request, num_bytes)

    def close(self) -> None:
        """Write what waits to be stored."""
        if self.upkeep is not None:
            self.upkeep.cancel()
        self.store.close()


def _stored(response: ResponseObject, asked: Asked) -> Stored:
    previous = asked.body.previous_response_id
    return Stored(response.id, previous, msgspec.json.encode(asked.items), msgspec.json.encode(response))
