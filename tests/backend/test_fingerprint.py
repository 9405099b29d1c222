import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firesteel.backend.llamacpp import fingerprint as module
from firesteel.backend.llamacpp.fingerprint import fingerprint, identity
from firesteel.config import EngineConfig


def line(path: Path, version: str = "1", *, flash: bool = False, long: bool = False, **config: object) -> str:
    settings = EngineConfig(**config)  # type: ignore[arg-type]
    return fingerprint(str(path), settings, version, flash_attention=flash, long_factors=long)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(os.urandom(100_000))
    return path


def test_every_setting_that_states_depend_on_changes_the_line(path: Path) -> None:
    lines = {
        line(path),
        line(path, "2"),
        line(path, flash=True),
        line(path, long=True),
        line(path, kv_type="q8_0"),
        line(path, yarn=2.0),
        line(path, yarn=4.0),
    }
    assert len(lines) == 7
    assert line(path, context_tokens=512, num_threads=3) == line(path)


def test_content_counts_and_the_name_does_not(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(path.read_bytes())
    assert identity(str(copy)) == identity(str(path))
    copy.write_bytes(path.read_bytes() + b"\0")
    assert identity(str(copy)) != identity(str(path))


@settings(max_examples=40)
@given(at=st.floats(0, 1))
def test_a_run_of_changed_weights_is_noticed(at: float) -> None:
    """A layer is longer than the gap between two samples, wherever it lies."""
    size, head = 4_000_000, 100_000
    sample, step = 1000, size // (module.NUM_SAMPLES - 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "HEAD_BYTES", head)
        patch.setattr(module, "SAMPLE_BYTES", sample)
        data = bytearray(size)
        before = digest(data)
        start = int(at * (size - step))
        data[start : start + step] = b"\1" * step
        assert digest(data) != before


def digest(data: bytearray) -> str:
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        return identity(file.name)
