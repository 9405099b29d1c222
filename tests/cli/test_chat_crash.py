"""A bug that ends the engine's thread: the chat says so, and starts another engine."""

import asyncio
import io

import pytest
from prompt_toolkit.data_structures import Size
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output.vt100 import Vt100_Output

from firesteel.cli.chat.app import ChatApp
from firesteel.cli.chat.loading import Settings
from firesteel.config import EngineConfig
from firesteel.engine.loop import Engine
from tests.cli.terminal import COLUMNS, ROWS, Display
from tests.server.live import PATIENCE_SECONDS

REAL_STEP = Engine.step


async def shown(file: io.StringIO, text: str) -> str:
    """Wait until the terminal behind `file` shows `text`."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            display = Display()
            display.feed(file.getvalue())
            if text in display.text:
                return display.text
            await asyncio.sleep(0.02)


async def test_a_dead_engine_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    def step(engine: Engine) -> bool:
        if engine._sequences and Engine.step is step:
            monkeypatch.setattr(Engine, "step", REAL_STEP)
            raise AssertionError("a bug")
        return REAL_STEP(engine)

    monkeypatch.setattr(Engine, "step", step)
    file = io.StringIO()
    output = Vt100_Output(file, lambda: Size(rows=ROWS, columns=COLUMNS), enable_cpr=False)
    settings = Settings(engine=EngineConfig(backend="scripted"), max_tokens=5)
    with create_pipe_input() as input:
        app = ChatApp(settings, system=None, save=False, input=input, output=output)
        running = asyncio.ensure_future(app.run(None))
        input.send_text("hello\r")
        text = await shown(file, "the engine is started again")
        assert "error: the engine stopped on an internal error" in text
        assert app.buffer.text == "hello"
        input.send_text("\r")
        await shown(file, "(cut: ")
        input.send_text("\x04")
        await running
