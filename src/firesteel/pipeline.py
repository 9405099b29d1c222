"""The product in one place: request → router → engine → stream.

`Pipeline.answer` is the life of one request. It meets the engine only through `EngineClient`, so the engine
may live in its own process (`serve`) or in this one (tests).
"""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, suppress
from functools import partial
from itertools import count

import msgspec

from firesteel.call import Call, Forgetful, Prepared
from firesteel.errors import ContextTooLong, FiresteelError, RequestError, UnknownModel
from firesteel.guard.order import NO_GUARDS, Guards
from firesteel.request import anthropic
from firesteel.request.affinity import NO_HEADERS
from firesteel.request.chat_template import render_tail
from firesteel.request.parsers import PARSERS
from firesteel.request.render import check_sampling, tokens_of
from firesteel.request.truncate import fitted
from firesteel.router.admission import Admission
from firesteel.session.recall import TokenRecall
from firesteel.stream.openai import collector_of, stream_of
from firesteel.stream.response import ResponseCollector, ResponseStream
from firesteel.types import ChatPrompt, EngineClient, Failure, Message, ModelInfo, Request, Tokenizer, Work
from firesteel.visit import UNCOUNTED, Place, Visit

LARGE_BODY_BYTES = 8_192  # is rendered and tokenised beside the event loop, so that other streams go on meanwhile
BYTES_PER_TOKEN = 4  # of a JSON body, to guess the size of a prompt before it is tokenised
MAX_TOKEN_CHARACTERS = 16  # what of a prediction is beyond so many a token is not even tokenised
FILL_RESERVE_TOKENS = 256  # left for the insertion when a fill request names no max_tokens
ANSWER_RESERVE_TOKENS = 1024  # left for the answer when a conversation is truncated and no max_tokens is named
WAITING_SECONDS = 1.0  # a client that waits hears something at least this often
Waiting = Callable[[Request, Place], Awaitable[None]]


async def _wait_silently(_: Request, __: Place) -> None: ...


RENDER_NICENESS = 10  # 50 kB take 27 ms to tokenise: time that the model's threads must not wait for


def _yield_to_the_model() -> None:
    """Lower this thread's priority; on Linux niceness belongs to the thread."""
    if sys.platform == "linux":
        with suppress(OSError):  # a sandbox may forbid it
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), RENDER_NICENESS)


class Pipeline:
    """Turns request bodies into calls on one engine that serves one model."""

    def __init__(
        self,
        engine: EngineClient,
        tokenizer: Tokenizer,
        info: ModelInfo,
        admission: Admission,
        *,
        model_id: str,
        context_tokens: int,
        accept_any_model: bool = False,
        guards: Guards = NO_GUARDS,
    ) -> None:
        self.admission = admission
        self.model_id = model_id
        self.info = info
        self.context_tokens = context_tokens  # the most that prompt and answer of one sequence may take
        self.calls: set[Call] = set()
        self._engine = engine
        self._tokenizer = tokenizer
        self._recall = TokenRecall(tokenizer)
        self._accept_any_model = accept_any_model
        self.guards = guards  # of the requests to come; may be replaced
        self._renderer = ThreadPoolExecutor(1, "render", initializer=_yield_to_the_model)
        self._work_numbers = count()  # clients may send the same request id twice

    @asynccontextmanager
    async def call(
        self,
        kind: str,
        body: bytes,
        request_id: str,
        waiting: Waiting = _wait_silently,
        *,
        scope: str = "",
        headers: Mapping[str, str] = NO_HEADERS,
        visit: Visit = UNCOUNTED,
    ) -> AsyncIterator[Call]:
        """Start the request in `body` when its turn comes; leaving the context ends it, whatever the reason.

        `waiting` is awaited every second until then, with this request's place; `scope`
        says whose warm state may serve it, `headers` may say which conversation it belongs to, `visit` counts it.
        Raises RequestError and its kin for what cannot be honoured, Overloaded when the queue is full.
        """
        self.admission.require_room(owner=scope)  # first, because a refusal must cost nothing
        request = PARSERS[kind](body, request_id=request_id, defaults=self.info.sampling, headers=headers)
        await self.enter(request, len(body), visit)
        async with self.run(request, len(body), waiting, scope=scope, visit=visit) as call:
            yield call

    async def enter(self, request: Request, num_bytes: int, visit: Visit, num_known: int = 0) -> None:
        """Let `request` in, which goes on from about `num_known` tokens, before it may `run`.

        Raises UnknownModel, and what `visit` raises for what its key may not ask for.
        """
        self._check_model(request.model)
        await visit.enter(request, self.model_id, num_bytes // BYTES_PER_TOKEN + num_known, self.context_tokens)

    @asynccontextmanager
    async def run(
        self,
        request: Request,
        num_bytes: int,
        waiting: Waiting = _wait_silently,
        *,
        scope: str = "",
        known: Sequence[int] = (),
        visit: Visit = UNCOUNTED,
    ) -> AsyncIterator[Call]:
        """Do the same for a request that was parsed from `num_bytes` and has come in.

        `known`: the tokens of its conversation up to the end of the last answer, so that only the rest is rendered.
        """
        with ExitStack() as stack:
            num_sequences, is_fast = len(request.prompts) * request.n, request.tier == "priority"
            ticket = stack.enter_context(self.admission.admitted(num_sequences, is_fast=is_fast, owner=scope))
            while not await self.admission.turn(ticket, WAITING_SECONDS):
                await waiting(request, self.admission.place(ticket))
            prompts = self._go_on(request, known) or await self._render(request, scope, num_bytes)
            request, works = self._works(request, scope, prompts)
            call = Call(self._engine, request, prompts, visit)
            self.calls.add(call)
            stack.callback(self.calls.discard, call)
            stack.callback(call.cancel)
            call.start(works)
            yield call

    def steer(self, call: Call, request: Request, words: str, scope: str) -> str:
        """Break into `call`, which answers `request`, with the user's `words`; return the id of what succeeds it.

        Raises RequestError when the model's template has no fixed way to go on from an answer.
        """
        prompt = request.prompts[0]
        assert isinstance(prompt, ChatPrompt)
        said = (Message(role="assistant"), Message(role="user", content=words))
        tail = render_tail((*prompt.messages, *said), prompt.tools, self._tokenizer)
        work = self._work(request, scope, 0, call.prompts[0], request.max_tokens or self.context_tokens)
        call.steer(msgspec.structs.replace(work, tokens=tail), partial(self.remember, scope))
        return work.id

    def _go_on(self, request: Request, known: Sequence[int]) -> list[Prepared]:
        """Return the prompt as `known` and what follows; nothing where the template has no fixed way to go on."""
        prompt = request.prompts[0]
        if not known or not isinstance(prompt, ChatPrompt):
            return []
        try:
            tail = render_tail(prompt.messages, prompt.tools, self._tokenizer)
        except RequestError:
            return []
        tokens = [*known, *tail]
        if request.truncates and len(tokens) > self._truncation_limit(request):
            return []
        return [Prepared(tokens, Forgetful())]

    def _truncation_limit(self, request: Request) -> int:
        """Return how many tokens a conversation may have that can lose its beginning."""
        return self.context_tokens - min(request.max_tokens or ANSWER_RESERVE_TOKENS, self.context_tokens // 4)

    def remember(self, scope: str, tokens: list[int]) -> None:
        """Keep the exact tokens of a conversation for requests that send it as text; done in the background."""
        self._renderer.submit(self._recall.restore, tokens, scope)

    async def num_tokens(self, request: Request, num_bytes: int, scope: str = "") -> int:
        """Return how many tokens the prompt of `request` has. Raises RequestError as `run` does."""
        self._check_model(request.model)
        return len((await self._render(request, scope, num_bytes))[0].tokens)

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's own."""
        return self._tokenizer

    async def count_tokens(
        self, body: bytes, request_id: str, *, scope: str, headers: Mapping[str, str] = NO_HEADERS
    ) -> int:
        """Return how many tokens the prompt of the Anthropic request in `body` has. Raises RequestError."""
        request = anthropic.parse_count(body, request_id=request_id, defaults=self.info.sampling, headers=headers)
        return await self.num_tokens(request, len(body), scope)

    def stream_of(self, call: Call) -> ResponseStream:
        """Return the encoder of a streamed response."""
        return stream_of(call.request, created=call.created, model=self.model_id, tokenizer=self._tokenizer)

    def collector_of(self, call: Call) -> ResponseCollector:
        """Return the encoder of a response in one body."""
        return collector_of(call.request, created=call.created, model=self.model_id, tokenizer=self._tokenizer)

    def _check_model(self, model: str) -> None:
        if model not in (self.model_id, "") and not self._accept_any_model:
            raise UnknownModel(
                f"`model`: {model!r} is not served here; send {self.model_id!r}, or start the server with "
                "--accept-any-model",
                param="model",
            )

    async def _render(self, request: Request, scope: str, num_bytes: int) -> list[Prepared]:
        if num_bytes < LARGE_BODY_BYTES:
            return self._render_now(request, scope)
        return await asyncio.get_running_loop().run_in_executor(self._renderer, self._render_now, request, scope)

    def _render_now(self, request: Request, scope: str) -> list[Prepared]:
        check_sampling(request.sampling, self._tokenizer)
        # With `max_tokens: 0` the hole is clipped as it will be when the answer is asked for.
        reserve = min(request.max_tokens or FILL_RESERVE_TOKENS, self.context_tokens // 2)
        fill_limit = self.context_tokens - reserve
        prediction = self._predicted(request.prediction)
        prepared = []
        for prompt in request.prompts:
            tokenizer = self._recall.tokenizer(scope, request.session)
            encode = partial(tokens_of, tokenizer=tokenizer, fill_limit=fill_limit)
            limit = self._truncation_limit(request)
            tokens, is_truncated = fitted(prompt, encode, limit) if request.truncates else (encode(prompt), False)
            prepared.append(Prepared(tokens, tokenizer, prediction, is_truncated))
        return prepared

    def _predicted(self, text: str) -> list[int]:
        """Return the tokens of a prediction, no more than an answer can have."""
        if not text:
            return []
        shown = text[: self.context_tokens * MAX_TOKEN_CHARACTERS]
        return self._tokenizer.encode(shown, special=False)[: self.context_tokens]

    def _works(self, request: Request, scope: str, prompts: list[Prepared]) -> tuple[Request, list[Work]]:
        """Return one `Work` per choice; an answer that cannot fit is cut to what fits, and that is noted."""
        works, is_cut = [], False
        if any(prompt.is_truncated for prompt in prompts):
            request = msgspec.structs.replace(request, noted=(*request.noted, "truncation"))
        for number, prompt in enumerate(prompts):
            tokens = prompt.tokens
            room = self._room_for(tokens, "messages" if request.kind in ("chat", "messages") else "prompt")
            max_tokens = room if request.max_tokens is None else min(request.max_tokens, room)
            is_cut = is_cut or max_tokens < (request.max_tokens or 0)
            works += [self._work(request, scope, n, prompt, max_tokens, number) for n in range(request.n)]
        if is_cut:
            request = msgspec.structs.replace(request, noted=(*request.noted, "max_tokens"))
        return request, works

    def _room_for(self, tokens: list[int], param: str) -> int:
        room = self.context_tokens - len(tokens)
        if room < 1:
            raise ContextTooLong(
                f"the prompt has {len(tokens)} tokens and the context {self.context_tokens}; shorten the "
                "prompt or serve with a larger --context",
                param=param,
            )
        return room

    def _work(self, request: Request, scope: str, n: int, prompt: Prepared, max_tokens: int, number: int = 0) -> Work:
        """Return the work of the `n`-th choice of the prompt with this `number`."""
        sampling = request.sampling
        if n and sampling.seed is not None:
            sampling = msgspec.structs.replace(sampling, seed=sampling.seed + n)
        return Work(
            id=f"{request.id}/{next(self._work_numbers)}",
            tokens=prompt.tokens,
            sampling=sampling,
            max_tokens=max_tokens,
            stop=request.stop,
            scope=scope,
            prediction=prompt.prediction,
            constraint=request.constraint,
            guard=self.guards.order_for(request, scope, number),
        )

    def recall_histories(self, histories: Callable[[], list[tuple[str, Sequence[int]]]]) -> None:
        """Remember, in the background, the exact tokens of earlier conversations: (scope, tokens) of each."""

        def restore() -> None:
            for scope, tokens in histories():
                self._recall.restore(tokens, scope)

        self._renderer.submit(restore)

    def close(self) -> None:
        """End the thread that renders large prompts."""
        self._renderer.shutdown(wait=False, cancel_futures=True)

    def fail_all(self, error: FiresteelError) -> None:
        """End every call with `error`, so that no client is left without a word at shutdown."""
        for call in self.calls:
            call.fail(Failure(call.request.id, error.code or "server_error", error.message))
