"""`firesteel serve`: the OpenAI-compatible server."""

import os
from typing import Annotated

import typer

from firesteel.cli.common import (
    DEFAULT_MODEL,
    BackendOption,
    ContextOption,
    ModelOption,
    QuantizeOption,
    ScriptOption,
    ThreadsOption,
    ensure_model,
)
from firesteel.config import EngineConfig, ServerConfig


def serve(
    model: ModelOption = DEFAULT_MODEL,
    backend: BackendOption = "auto",
    script: ScriptOption = None,
    quantize: QuantizeOption = None,
    host: Annotated[str, typer.Option(help="Address; other than loopback needs FIRESTEEL_API_KEY.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="TCP port.")] = 8080,
    threads: ThreadsOption = None,
    context: ContextOption = None,
    chunk: Annotated[
        int | None,
        typer.Option(min=1, help="Prompt tokens a step computes when alone.", show_default="chosen"),
    ] = None,
    max_live: Annotated[
        int | None, typer.Option(min=1, max=256, help="Requests computed together.", show_default="16")
    ] = None,
    max_queue: Annotated[int, typer.Option(min=0, help="Requests that may wait beyond those.")] = 64,
    cache_mb: Annotated[int, typer.Option(min=0, help="Host memory for idle conversations' KV, in MB.")] = 512,
    max_body_mb: Annotated[int, typer.Option(min=1, help="Largest request body, in MB.")] = 16,
    grace: Annotated[float, typer.Option(min=0, help="Seconds that streams get to end after SIGTERM.")] = 10.0,
    accept_any_model: Annotated[
        bool, typer.Option("--accept-any-model", help="Serve this model under any name a client sends.")
    ] = False,
) -> None:
    """Serve the model at http://HOST:PORT/v1 until Ctrl-C. Ready when GET /health answers 200."""
    engine_config = EngineConfig(
        backend=backend,
        script=script,
        model=model,
        quantize=quantize,
        num_threads=threads,
        context_tokens=context,
        chunk_tokens=chunk,
        max_live=max_live,
        cache_bytes=cache_mb * 1_000_000,
    )
    config = ServerConfig(
        host=host,
        port=port,
        api_key=os.environ.get("FIRESTEEL_API_KEY") or None,
        max_queue=max_queue,
        max_body_bytes=max_body_mb * 1_000_000,
        grace_seconds=grace,
        accept_any_model=accept_any_model,
    )
    from firesteel.server.auth import check_bind
    from firesteel.server.run import serve as serve_until_signal

    check_bind(config.host, config.api_key)
    ensure_model(engine_config)
    typer.echo(
        f"firesteel: serving {model if backend != 'scripted' else 'scripted'} at http://{host}:{port}/v1",
        err=True,
    )
    serve_until_signal(engine_config, config)
