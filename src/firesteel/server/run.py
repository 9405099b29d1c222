"""Runs the server until a signal, then lets streams end within a grace period."""

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from types import FrameType

import uvicorn

from firesteel.config import EngineConfig, ServerConfig
from firesteel.errors import ConfigError
from firesteel.server.app import Service, create_app
from firesteel.server.auth import check_bind
from firesteel.server.closing import closing
from firesteel.server.observe import Listener
from firesteel.server.protocol import limited
from firesteel.server.reload import Reload
from firesteel.server.tls import Tls, check_plain, uses_tls
from firesteel.server.tracing import Tracing, is_configured, log_request

log = logging.getLogger("firesteel")

POLL_SECONDS = 0.05
LAST_WORD_SECONDS = 1.0  # at the end of the grace period, to tell clients why their stream ends


class _Server(uvicorn.Server):
    """uvicorn, which at shutdown tells the remaining clients why their stream ends instead of cutting it."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self._loop: asyncio.AbstractEventLoop | None = None  # once it ends
        self._has_no_time = False  # Ctrl-C came twice

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end; a second Ctrl-C does not wait. uvicorn's own would raise the signal again at the end."""
        if sig == signal.SIGINT and self.should_exit:
            self._has_no_time = True
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._hurry, self._loop)
        self.should_exit = True

    def _hurry(self, loop: asyncio.AbstractEventLoop) -> None:
        """End the grace period now: streams are told why they end, and what does not take that is cut."""
        self._last_word()
        loop.call_later(LAST_WORD_SECONDS, setattr, self, "force_exit", True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take nothing new and wait for what runs; what outlasts the grace period gets an error."""
        self._loop = asyncio.get_running_loop()
        timer = self._loop.call_later(self._service.config.grace_seconds, self._last_word)
        if self._has_no_time:
            self._hurry(self._loop)
        self._service.is_closing = True
        num_open = self._service.desk.figures()["num_visits"]
        log.info("ending; %d requests have %g seconds", num_open, self._service.config.grace_seconds)
        for listening in (*self.servers, *(sockets or ())):
            listening.close()
        try:
            await self._idle()  # uvicorn waits for HTTP, but closes WebSockets at once
            await super().shutdown(sockets)
        finally:
            timer.cancel()

    async def _idle(self) -> None:
        """Wait for the WebSockets, and for what nobody waits for."""
        deadline = time.monotonic() + self._service.config.grace_seconds + LAST_WORD_SECONDS
        service = self._service
        while service.background.is_busy or any(connection.is_busy for connection in service.sockets):
            if self.force_exit or time.monotonic() > deadline:
                return
            await asyncio.sleep(POLL_SECONDS)

    def _last_word(self) -> None:
        if self._service.pipeline is not None:
            self._service.pipeline.fail_all(closing())


class _ClientsFault(logging.Filter):
    """Lets text that is no UTF-8 be a line in the log, without a traceback as if it were a bug."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep every record."""
        if record.exc_info and isinstance(record.exc_info[1], UnicodeDecodeError):
            record.exc_info = None
        return True


def serve(engine_config: EngineConfig, config: ServerConfig, reload: Reload | None = None) -> None:
    """Serve until SIGINT or SIGTERM; SIGHUP calls `reload`. Raises ConfigError or ModelError when it cannot start."""
    check_bind(config.host, config)
    _allow_files()
    tls = Tls(config) if uses_tls(config) else None
    listening = _listen(config)
    service = Service(engine_config, config)
    tracing = Tracing() if is_configured(os.environ) else None
    service.listeners = listeners(engine_config, tracing)
    uvicorn_config = uvicorn.Config(
        create_app(service),
        lifespan="on",
        http=limited(lambda: service.config),
        ws="websockets-sansio",  # 1,000 idle sockets fit into 100 MB
        ws_max_size=config.max_body_bytes,
        ws_per_message_deflate=True,
        access_log=False,
        log_config=None,  # one format for all lines: firesteel.logs
        log_level="warning",
        server_header=False,
        proxy_headers=False,  # nothing here asks where a request came from
        ssl_context_factory=(lambda *_: tls.context) if tls is not None else None,
        timeout_graceful_shutdown=int(config.grace_seconds + LAST_WORD_SECONDS + 0.5),
    )
    logging.getLogger("uvicorn.error").addFilter(_ClientsFault())
    server = _Server(uvicorn_config, service)
    service.on_failure = lambda: setattr(server, "should_exit", True)
    service.reload = reload
    checked = [check_plain, *service.on_reload] if tls is None else [tls.check, *service.on_reload, tls.take]
    service.on_reload = checked  # nothing is taken before all that may refuse has seen it
    with listening:
        server.run(sockets=[listening])
    if tracing is not None:
        tracing.close()
    if service.failure is not None:
        raise service.failure


def listeners(config: EngineConfig, tracing: Tracing | None) -> list[Listener]:
    """Return who is told of each request that is over."""
    wanted: list[Listener] = [log_request] if config.log_format == "json" else []
    return [*wanted, tracing] if tracing is not None else wanted


def _listen(config: ServerConfig) -> socket.socket:
    """Bind first, so that a port in use is a clear error before any model is loaded."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _drop_vanished(listening, config.idle_write_seconds)
        listening.bind(address)
        listening.listen(2048)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {config.host}:{config.port} ({error}); try another --port or --host"
        ) from None
    return listening


def _allow_files() -> None:
    """Let as many connections be open as this system allows: a thousand are more than the usual 1,024 files."""
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _drop_vanished(listening: socket.socket, seconds: float) -> None:
    """Let the kernel close connections whose peer takes or acknowledges nothing; accepted sockets inherit this.

    Otherwise closing the transport of a client that never reads would wait for its reading, without end.
    """
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, max(1, round(seconds)))
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1000 * seconds))
