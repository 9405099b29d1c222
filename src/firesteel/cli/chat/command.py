"""The command line of `firesteel chat`."""

import sys
import time
from typing import Annotated

import typer

from firesteel.cli.common import (
    DEFAULT_MODEL,
    BackendOption,
    ContextOption,
    DiskCacheOption,
    KvTypeOption,
    MaxTokensOption,
    ModelOption,
    QuantizeOption,
    ScriptOption,
    SeedOption,
    SystemOption,
    TemperatureOption,
    ThreadsOption,
    YarnOption,
    engine_config,
)
from firesteel.cli.guarding import GuardOption
from firesteel.config import EngineConfig, GuardLevel
from firesteel.errors import RequestError

ONE_USER = 2  # sequences at a time: the answer, and one that has just been cancelled


def chat(
    id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="With --resume: which conversation.", show_default="the latest")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an earlier conversation.")] = False,
    model: ModelOption = DEFAULT_MODEL,
    backend: BackendOption = "auto",
    script: ScriptOption = None,
    quantize: QuantizeOption = None,
    system: SystemOption = None,
    max_tokens: MaxTokensOption = None,
    temperature: TemperatureOption = None,
    seed: SeedOption = None,
    threads: ThreadsOption = None,
    context: ContextOption = None,
    kv_type: KvTypeOption = "f16",
    yarn: YarnOption = None,
    guard: GuardOption = "rewrite",
    disk_cache_mb: DiskCacheOption = 4096,
    save: Annotated[bool, typer.Option("--save/--no-save", help="Keep the conversation.")] = True,
    json: Annotated[bool, typer.Option("--json", help="Read lines from stdin, print one JSON line per turn.")] = False,
) -> None:
    """Chat with the model; Enter steers while it writes, Tab queues, Esc interrupts.

    Without a terminal, each line of stdin is a turn, and the answers go to stdout.
    """
    own = {"max_live": ONE_USER, "disk_bytes": disk_cache_mb * 1_000_000}
    config = engine_config(model, backend, script, quantize, threads, context, kv_type, yarn, **own)
    which = conversation_id(id, resume=resume)
    status = start(config, (temperature, seed, max_tokens), guard, system, which, json=json, save=save)
    raise typer.Exit(status)


def conversation_id(id: str | None, *, resume: bool) -> str | None:
    """Return the conversation to go on with, if any. Raises RequestError when there is none to resume."""
    from firesteel.cli.chat import storage

    if id is not None and not resume:
        raise RequestError(f"to go on with conversation {id!r}, say: firesteel chat --resume {id}")
    if not resume or id is not None:
        return id
    found = storage.recent(time.time())
    if not found:
        raise RequestError(f"no conversation is saved in {storage.folder()} yet; leave --resume out")
    return found[0].id


def start(
    engine: EngineConfig,
    sampling: tuple[float | None, int | None, int | None],
    guard: GuardLevel,
    system: str | None,
    resume: str | None,
    *,
    json: bool,
    save: bool,
) -> int:
    """Chat in the terminal, or with stdin and stdout; return the exit status."""
    from firesteel.backend.sizes import prices
    from firesteel.cli.chat.loading import Settings

    for price in prices(engine):
        typer.echo(price, err=True)
    temperature, seed, max_tokens = sampling
    settings = Settings(engine=engine, temperature=temperature, seed=seed, max_tokens=max_tokens, guard=guard)
    if json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        from firesteel.cli.chat import pipe

        return pipe.run(settings, system=system, resume=resume, json=json, save=save)
    import asyncio

    from firesteel.cli.chat.app import ChatApp

    async def run() -> str | None:
        app = ChatApp(settings, system=system, save=save)
        await app.run(resume)
        return app.saved_id

    if id := asyncio.run(run()):
        typer.echo(f"firesteel chat --resume {id}")
    return 0
