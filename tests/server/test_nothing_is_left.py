"""Law 3 for the whole server: after any run no process, thread, task or socket is left."""

import asyncio
import json
import threading
from pathlib import Path

import httpx
import psutil
import pytest
from starlette.applications import Starlette

from firesteel.config import EngineConfig, ServerConfig
from firesteel.server import app as app_module
from firesteel.server.app import Service, create_app
from tests.server.live import SCRIPT, chat_body


async def run_app(script: Path, *, loads: bool) -> set["asyncio.Task[object]"]:
    """Run the application once through answers, failures, a crash and a client that leaves; return tasks left."""
    service = Service(EngineConfig(backend="scripted", script=str(script)), ServerConfig())
    app = create_app(service)
    before = asyncio.all_tasks()
    async with app.router.lifespan_context(app):
        if loads:
            while service.pipeline is None:
                await asyncio.sleep(0.01)
            await use(app)
    return asyncio.all_tasks() - before


async def use(app: Starlette) -> None:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=30) as client:
        for text, stream in (("hello", True), ("hello", False), ("fail first", True), ("crash", True)):
            await client.post("/v1/chat/completions", json=chat_body(text, stream=stream))
            while (await client.get("/health")).status_code != 200:
                await asyncio.sleep(0.01)
        impatient = client.post("/v1/chat/completions", json=chat_body("stall"))
        leaving = asyncio.ensure_future(impatient)
        await asyncio.sleep(0.1)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        assert "firesteel_requests" in (await client.get("/metrics")).text


def test_no_process_thread_task_or_file_is_left(tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text(json.dumps(SCRIPT))
    asyncio.run(run_app(script, loads=True))  # what is opened once and kept is opened here
    me = psutil.Process()
    num_files, threads, children = me.num_fds(), set(threading.enumerate()), me.children(recursive=True)
    for loads in (True, False):
        assert asyncio.run(run_app(script, loads=loads)) == set()
        assert me.num_fds() == num_files
        assert set(threading.enumerate()) <= threads
        assert me.children(recursive=True) == children


async def test_a_bug_while_loading_ends_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(config: EngineConfig) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(app_module, "open_tokenizer", broken)
    service = Service(EngineConfig(backend="scripted"), ServerConfig())
    ended = asyncio.Event()
    service.on_failure = ended.set
    app = create_app(service)
    async with app.router.lifespan_context(app):
        await asyncio.wait_for(ended.wait(), 10)
    assert isinstance(service.failure, ZeroDivisionError)
