"""`firesteel serve`: the OpenAI-compatible server."""

from typing import Annotated

import typer

from firesteel.cli.common import (
    DEFAULT_DRAFTERS,
    DEFAULT_MODEL,
    BackendOption,
    ContextOption,
    DiskCacheOption,
    DraftersOption,
    DraftModelOption,
    KvTypeOption,
    ModelOption,
    QuantizeOption,
    ScriptOption,
    ThreadsOption,
    YarnOption,
    drafters_of,
    engine_config,
    ensure_model,
)
from firesteel.config import EngineConfig, ServerConfig, api_keys

HostOption = Annotated[str, typer.Option(help="Address; other than loopback needs API keys.")]
PortOption = Annotated[int, typer.Option(min=1, max=65535, help="TCP port.")]
ChunkOption = Annotated[
    int | None, typer.Option(min=1, help="Prompt tokens a step computes when alone.", show_default="chosen")
]
MaxLiveOption = Annotated[
    int | None, typer.Option(min=1, max=256, help="Requests computed together.", show_default="16")
]
MaxDraftOption = Annotated[int, typer.Option(min=0, max=256, help="Guessed tokens that one step verifies at most.")]
MaxQueueOption = Annotated[int, typer.Option(min=0, help="Requests that may wait beyond those.")]
CacheOption = Annotated[int, typer.Option(min=0, help="Host memory for idle conversations' KV, in MB.")]
MaxBodyOption = Annotated[int, typer.Option(min=1, help="Largest request body, in MB.")]
GraceOption = Annotated[float, typer.Option(min=0, help="Seconds that streams get to end after SIGTERM.")]
AnyModelOption = Annotated[
    bool, typer.Option("--accept-any-model", help="Serve this model under any name a client sends.")
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        help="SQLite file of stored responses; `:memory:` keeps them for this run.", show_default="responses.db"
    ),
]
KeysOption = Annotated[
    str | None,
    typer.Option(help="File of `firesteel keys`; `none` is no file.", show_default="keys.json"),
]


def serve(
    model: ModelOption = DEFAULT_MODEL,
    backend: BackendOption = "auto",
    script: ScriptOption = None,
    quantize: QuantizeOption = None,
    host: HostOption = "127.0.0.1",
    port: PortOption = 8080,
    threads: ThreadsOption = None,
    context: ContextOption = None,
    kv_type: KvTypeOption = "f16",
    yarn: YarnOption = None,
    chunk: ChunkOption = None,
    max_live: MaxLiveOption = None,
    drafters: DraftersOption = DEFAULT_DRAFTERS,
    max_draft: MaxDraftOption = 48,
    draft_model: DraftModelOption = None,
    max_queue: MaxQueueOption = 64,
    cache_mb: CacheOption = 512,
    disk_cache_mb: DiskCacheOption = 4096,
    max_body_mb: MaxBodyOption = 16,
    grace: GraceOption = 10.0,
    accept_any_model: AnyModelOption = False,
    response_store: StoreOption = None,
    keys: KeysOption = None,
) -> None:
    """Serve the model at http://HOST:PORT/v1 until Ctrl-C. Ready when GET /health answers 200."""
    own = {"chunk_tokens": chunk, "max_live": max_live}
    draft = {"drafters": drafters_of(drafters), "max_draft": max_draft, "draft_model": draft_model}
    sizes = {"cache_bytes": cache_mb * 1_000_000, "disk_bytes": disk_cache_mb * 1_000_000}
    engine = engine_config(model, backend, script, quantize, threads, context, kv_type, yarn, **own, **draft, **sizes)
    server = ServerConfig(
        **{"host": host, "port": port, "api_keys": api_keys(), "key_file": keys},
        max_queue=max_queue,
        max_body_bytes=max_body_mb * 1_000_000,
        grace_seconds=grace,
        accept_any_model=accept_any_model,
        response_store=response_store,
    )
    start(engine, server)


def start(engine: EngineConfig, server: ServerConfig) -> None:
    """Check what can be checked before any work, pull the model if need be, and serve."""
    import logging

    from firesteel.backend.sizes import prices
    from firesteel.server.auth import check_bind
    from firesteel.server.run import serve as serve_until_signal

    check_bind(server)
    ensure_model(engine)
    name = "scripted" if engine.backend == "scripted" else engine.model
    logging.basicConfig(format="firesteel: %(message)s", level=logging.INFO)
    for price in prices(engine):
        logging.getLogger("firesteel").warning(price)
    logging.getLogger("firesteel").info("loading %s for http://%s:%d/v1", name, server.host, server.port)
    serve_until_signal(engine, server)
