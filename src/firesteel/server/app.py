"""The routes and the life of the server process."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute

from firesteel.backend import open_tokenizer
from firesteel.config import EngineConfig, ServerConfig, kv_folder
from firesteel.engine.kv.histories import histories
from firesteel.engine.process import EngineProcess
from firesteel.errors import NotReady, UnknownModel
from firesteel.guard.order import NO_GUARDS
from firesteel.pipeline import Pipeline
from firesteel.responses.background import Background
from firesteel.responses.service import Responses
from firesteel.router.admission import Admission
from firesteel.server import anthropic, llama, openapi, responses, websocket
from firesteel.server.answer import Answer
from firesteel.server.auth import keyring
from firesteel.server.closing import closing
from firesteel.server.faults import HANDLERS
from firesteel.server.guarding import guards_after, guards_of, need_of
from firesteel.server.metrics import Metrics
from firesteel.server.observe import Listener, Observed, request_id
from firesteel.server.operations import OPERATIONS
from firesteel.server.origins import Origins
from firesteel.server.reload import Reload
from firesteel.server.stored import open_responses
from firesteel.service.desk import open_desk
from firesteel.wire.health import health_of
from firesteel.wire.model_list import ModelCard, ModelMeta, encode_models

AnswerT = TypeVar("AnswerT", bound=Answer)
LOADING_RETRY_SECONDS = 2.0
MAX_RECALLED_TOKENS = 500_000  # of earlier conversations: a second of a low-priority thread


def recalled(folder: Path, fingerprint: str) -> list[tuple[str, Sequence[int]]]:
    """Return the histories whose KV is on disk, so that clients that send them as text meet the same tokens."""
    return histories(folder, fingerprint, MAX_RECALLED_TOKENS)


class Service:
    """What the routes share: the engine process, the pipeline once the model is loaded, the metrics."""

    def __init__(self, engine_config: EngineConfig, config: ServerConfig) -> None:
        self.config = config
        self.guards = guards_of(config)
        self._need = need_of(self.guards)
        self.engine = EngineProcess(msgspec.structs.replace(engine_config, guard=self._need))
        self.metrics = Metrics()
        self.keyring = keyring(config)
        self.desk = open_desk(config)
        self.desk.finished = self.metrics.finished
        self.pipeline: Pipeline | None = None
        self.responses: Responses | None = None
        self.background = Background()
        self.sockets: set[websocket.Connection] = set()
        self.is_closing = False
        self.failure: Exception | None = None  # why the model could not be loaded
        self.on_failure: Callable[[], None] = lambda: None
        self.reload: Reload | None = None
        self.listeners: list[Listener] = []  # told of each request that is over
        self.on_reload: list[Callable[[ServerConfig], None]] = [
            self._take_guards,
            self._take,
        ]  # who takes settings over
        self._engine_config = engine_config
        self._started = int(time.time())

    async def load(self) -> None:
        """Start the engine and open the tokenizer beside it; afterwards `pipeline` is there."""
        await self.engine.start()
        try:
            tokenizer = await asyncio.to_thread(open_tokenizer, self._engine_config)
            ready = await self.engine.wait_ready()
        except Exception as error:  # a bug too must end the server, which would else be loading forever
            self.failure = error
            self.on_failure()
            return
        self.pipeline = Pipeline(
            self.engine,
            tokenizer,
            ready.info,
            Admission(ready.max_live, self.config.max_queue, time.monotonic),
            model_id=self.model_id,
            context_tokens=min(ready.num_cells, ready.info.context_length),
            accept_any_model=self.config.accept_any_model,
            guards=msgspec.structs.replace(self.guards, broken_rules=ready.broken_rules),
        )
        if self._engine_config.disk_bytes:
            folder = kv_folder(self._engine_config)
            self.pipeline.recall_histories(lambda: recalled(folder, ready.state_fingerprint))

    def watch_signals(self) -> None:
        """Let SIGHUP read the settings again; without anybody to ask, it is none of ours."""
        if self.reload is not None and hasattr(signal, "SIGHUP"):
            reload = self.reload
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, lambda: reload(self.config, self.on_reload))

    def _take_guards(self, config: ServerConfig) -> None:
        self.guards = guards_after(self._need, config)
        if self.pipeline is not None:
            broken = self.pipeline.guards.broken_rules
            self.pipeline.guards = msgspec.structs.replace(self.guards, broken_rules=broken)

    def _take(self, config: ServerConfig) -> None:
        self.config = config
        self.keyring.reload(config.api_keys)
        self.desk.take(config)

    async def close(self) -> None:
        """End the engine process and what the pipeline holds."""
        await self.background.close(closing())
        await self.engine.close()
        if self.responses is not None:
            self.responses.close()
        if self.pipeline is not None:
            self.pipeline.close()
        await self.desk.close()

    @property
    def model_id(self) -> str:
        """The name under which the model is served."""
        scripted = self._engine_config.backend == "scripted"
        return "scripted" if scripted else self._engine_config.model.rsplit("/", 1)[-1]

    def figures(self) -> dict[str, float]:
        """Return what the metrics tell of queue, limits and ledger."""
        queue = self.pipeline.admission.figures() if self.pipeline else {}
        return {**queue, **self.desk.figures()}

    def ready_pipeline(self) -> Pipeline:
        """Return the pipeline. Raises NotReady while the model is loading or the engine restarts."""
        if self.pipeline is None or self.engine.ready is None:
            raise NotReady("the model is being loaded; try again", retry_after=LOADING_RETRY_SECONDS)
        return self.pipeline

    def require_open(self) -> None:
        """Raise NotReady once the server ends: what runs may end, and nothing new begins."""
        if self.is_closing:
            raise closing()

    def answer(self, request: Request, kind: str, answer: type[AnswerT] = Answer) -> AnswerT:  # type: ignore[assignment]
        """Return the response to a request that asks the model for something."""
        self.require_open()
        made = answer(
            self.ready_pipeline(),
            self.metrics,
            request,
            kind,
            config=self.config,
        )
        made.service = self
        if made.is_counted:
            made.visit = self.desk.visit(request.state.caller, kind, request.state.request_id)
        return made

    def ready_responses(self) -> Responses:
        """Return the responses. Raises NotReady as `ready_pipeline` does."""
        pipeline = self.ready_pipeline()
        if self.responses is None:
            self.responses = open_responses(pipeline, self.config)
        return self.responses

    def card(self) -> ModelCard:
        """Return the entry of `GET /v1/models`."""
        pipeline = self.ready_pipeline()
        return ModelCard(
            id=self.model_id,
            created=self._started,
            max_model_len=pipeline.context_tokens,
            context_length=pipeline.context_tokens,
            meta=ModelMeta(n_ctx=pipeline.context_tokens, n_ctx_train=pipeline.info.context_length),
        )


async def chat_completions(request: Request) -> Answer:
    """`POST /v1/chat/completions`."""
    return _service(request).answer(request, "chat")


async def completions(request: Request) -> Answer:
    """`POST /v1/completions`."""
    return _service(request).answer(request, "completion")


async def list_models(request: Request) -> Response:
    """`GET /v1/models`."""
    return Response(encode_models(_cards(request)), media_type="application/json")


async def get_model(request: Request) -> Response:
    """`GET /v1/models/{model}`."""
    for card in _cards(request):
        if card.id == request.path_params["model"]:
            return Response(msgspec.json.encode(card), media_type="application/json")
    raise UnknownModel(f"there is no model {request.path_params['model']!r}; see GET /v1/models")


def _cards(request: Request) -> list[ModelCard]:
    card = _service(request).card()
    return [card] if request.state.caller.may_use(card.id) else []


async def health(request: Request) -> Response:
    """`GET /health`: 200 when requests are answered (degraded: the guard is broken), 503 while they are not."""
    service = _service(request)
    is_ready = service.pipeline is not None and service.engine.ready is not None
    broken = service.engine.ready.broken_rules if service.engine.ready else ()
    body = health_of(service.model_id, service.engine.num_restarts, is_ready, service.guards != NO_GUARDS, broken)
    return Response(msgspec.json.encode(body), 200 if is_ready else 503, media_type="application/json")


async def metrics(request: Request) -> Response:
    """`GET /metrics`: Prometheus text."""
    service = _service(request)
    refused = service.pipeline.admission.num_refused if service.pipeline else 0
    statistics = await service.engine.statistics()
    figures = service.figures()
    text = service.metrics.render(statistics, figures, num_refused=refused, num_restarts=service.engine.num_restarts)
    return Response(text, media_type="text/plain; version=0.0.4")


OPEN_PATHS = frozenset(operation.path for operation in OPERATIONS if operation.is_open)  # need no key
SCOPES = {operation.path: operation.scope for operation in OPERATIONS}  # what a key must be allowed to do there


def routes() -> list[Route]:
    """Return every endpoint; docs/reference/http.md describes each, and a test checks that."""
    return [
        Route("/v1/chat/completions", chat_completions, methods=["POST"]),
        Route("/v1/completions", completions, methods=["POST"]),
        *responses.routes(),
        *anthropic.routes(),
        *llama.routes(),
        *openapi.routes(),
        Route("/v1/models", list_models, methods=["GET"]),
        Route("/v1/models/{model:path}", get_model, methods=["GET"]),
        Route("/health", health, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
    ]


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def create_app(service: Service) -> Starlette:
    """Return the ASGI application; its lifespan starts and ends the engine."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        service.watch_signals()
        loading = asyncio.create_task(service.load())
        try:
            yield
        finally:
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)
            await service.close()

    observers = [Middleware(Observed, service.listeners)] if service.listeners else []
    app = Starlette(
        routes=[WebSocketRoute("/v1/responses", websocket.endpoint), *map(_guarded, routes())],
        middleware=[*observers, Middleware(Origins, lambda: service.config.cors_origins)],
        lifespan=lifespan,
        exception_handlers=HANDLERS,
    )
    app.state.service = service
    return app


def _guarded(route: Route) -> Route:
    """Give every request an id and check its key before anything else."""
    endpoint: Callable[[Request], Awaitable[Response]] = route.endpoint

    async def guarded(request: Request) -> Response:
        if not hasattr(request.state, "request_id"):
            request.state.request_id = request_id(request.headers)
        path = route.path.replace(":path}", "}")
        if path not in OPEN_PATHS:
            caller = _service(request).keyring.identify(request.headers)
            request.state.caller, request.state.scope = caller, caller.scope
            caller.check(SCOPES[path])
        return await endpoint(request)

    return Route(route.path, guarded, methods=list(route.methods or ()))
