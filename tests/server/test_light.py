"""The server process stays small: what only the engine needs is not loaded beside it."""

import subprocess
import sys

import pytest

SCRIPTED = """
import sys
import firesteel.cli.app, firesteel.server.run
from firesteel.backend import open_tokenizer
from firesteel.config import EngineConfig
open_tokenizer(EngineConfig(backend="scripted", model="scripted"))
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
LLAMA = """
import sys
from firesteel.backend.llamacpp.library import functions
alone = functions()
print(*sorted({name.partition(".")[0] for name in sys.modules}))
import llama_cpp
assert llama_cpp.Llama
assert llama_cpp.llama_tokenize is alone.llama_tokenize is functions().llama_tokenize
"""


@pytest.mark.parametrize("program", [SCRIPTED, LLAMA], ids=["server", "libllama"])
def test_what_is_not_needed_is_not_loaded(program: str) -> None:
    """numpy alone takes 13 MB."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert "firesteel" in loaded
    assert not loaded & {"numpy", "llguidance", "llama_cpp" if program is SCRIPTED else "jinja2", "pydantic", "torch"}
