"""Neovim, configured by `firesteel setup nvim`, asks for what belongs at the cursor and inserts it."""

from pathlib import Path

import pytest

from tests.clients.installed import User, client

pytestmark = [pytest.mark.clients, pytest.mark.timeout(240)]

PROGRAM = Path(__file__).parent / "fill.lua"


def test_neovim_fills_in(someone: User, tmp_path: Path) -> None:
    nvim = client("nvim")
    someone.setup("nvim")
    target = tmp_path / "filled.py"
    someone.run(nvim, "--headless", "-c", f"luafile {PROGRAM}", env={"FILLED": str(target)})
    first, filled, *_ = target.read_text().splitlines()
    assert first == "def add(a, b):"
    assert filled.startswith("    return ")
    assert filled.removeprefix("    return ").strip()
    assert target.read_text().endswith("print(add(1, 2))\n")
