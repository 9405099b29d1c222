"""Save, load, fork and trim of libllama's KV: tiny models with random weights by default, the real one on demand.

Measured: logits after loading are bit for bit those before when the cells lie in the same order; else the sums
of attention are rounded in another order, which these models show in the seventh digit.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firesteel.backend import open_backend
from firesteel.backend.base import Backend, Rows, Want
from firesteel.config import EngineConfig
from firesteel.errors import ConfigError
from firesteel.models.catalogue import DEFAULT
from tests.backend import tiny_models

Logits = npt.NDArray[np.float32]
TOKENS = [(index * 89 + index // 7) % 256 for index in range(400)]


def open_tiny(path: Path, **config: Any) -> Backend:
    values = {"num_threads": 1, "max_live": 4, "context_tokens": 768} | config
    return open_backend(EngineConfig(backend="llamacpp", model=str(path), cache_bytes=0, **values))


@pytest.fixture(scope="module", params=["f16", "q8_0"])
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    path = tiny_models.transformer(tmp_path_factory.mktemp("kv") / "tiny.gguf")
    opened = open_tiny(path, kv_type=request.param)
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def leave_empty(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "backend" in request.fixturenames:
        empty(request.getfixturevalue("backend"))


def empty(backend: Backend) -> None:
    for sequence in range(backend.capabilities.max_sequences):
        backend.trim(sequence, 0)


def compute(backend: Backend, sequence: int, tokens: list[int], position: int = 0) -> Logits:
    """Compute `tokens` in full chunks and return the logits of the last."""
    size = backend.capabilities.chunk_rows
    for start in range(0, len(tokens), size):
        backend.submit([Rows(sequence, position + start, tokens[start : start + size], Want.LOGITS)])
        (output,) = backend.wait()
    return output.logits[0].copy()


def next_logits(backend: Backend, sequence: int, position: int, token: int = 7) -> Logits:
    """Return the logits of one token more; the sequence is left as it was."""
    logits = compute(backend, sequence, [token], position)
    backend.trim(sequence, position)
    return logits


def same_but_for_order(left: Logits, right: Logits) -> bool:
    return np.allclose(left, right, atol=1e-4)


cuts = st.lists(st.integers(1, 299), max_size=8).map(lambda found: [0, *sorted(set(found)), 300])


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bounds=cuts, as_bytes=st.booleans())
def test_blocks_that_are_loaded_one_by_one_are_what_was_saved(
    backend: Backend, bounds: list[int], as_bytes: bool
) -> None:
    empty(backend)
    compute(backend, 0, TOKENS[:300])
    before = next_logits(backend, 0, 300)
    states = [backend.save(0, start, end) for start, end in itertools.pairwise(bounds)]
    backend.trim(0, 0)
    for state in states:
        assert backend.load(0, bytes(state) if as_bytes else state)
    assert np.array_equal(next_logits(backend, 0, 300), before)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(1, 299), foreign=st.integers(0, 255))
def test_what_is_appended_to_a_fork_leaves_the_source_alone(backend: Backend, at: int, foreign: int) -> None:
    empty(backend)
    compute(backend, 0, TOKENS[:300])
    before, tail = next_logits(backend, 0, 300), backend.save(0, at)
    backend.fork(0, 1, at)
    assert backend.load(1, tail)
    assert same_but_for_order(next_logits(backend, 1, 300), before)
    backend.trim(1, at)
    compute(backend, 1, [foreign] * 5, at)
    assert same_but_for_order(next_logits(backend, 0, 300), before)


def test_a_state_that_is_loaded_and_cut_goes_on_as_if_computed(backend: Backend) -> None:
    compute(backend, 0, TOKENS[:256])
    expected = next_logits(backend, 0, 256)
    compute(backend, 0, TOKENS[256:300], 256)
    state = backend.save(0)
    assert backend.state_bytes(state) == backend.state_bytes(bytes(state)) > 0
    backend.trim(0, 0)
    assert backend.load(1, state)
    backend.trim(1, 256)
    assert np.array_equal(next_logits(backend, 1, 256), expected)


def test_blocks_at_a_wrong_position_are_refused_and_change_nothing(backend: Backend) -> None:
    compute(backend, 0, TOKENS[:128])
    before, block = next_logits(backend, 0, 128), backend.save(0, 64, 128)
    for target in (0, 1):
        with pytest.raises(AssertionError, match="saved at 64"):
            backend.load(target, block)
    with pytest.raises(AssertionError, match="128 positions, not 64 to 129"):
        backend.save(0, 64, 129)
    assert np.array_equal(next_logits(backend, 0, 128), before)
    compute(backend, 1, TOKENS[:8])  # as a new sequence: nothing was left behind in it


def test_what_does_not_fit_leaves_the_sequence_as_it_was(backend: Backend) -> None:
    compute(backend, 0, TOKENS[:300])
    tail = backend.save(0, 100)
    backend.fork(0, 1, 100)
    compute(backend, 2, TOKENS[:300])
    before = next_logits(backend, 1, 100)
    assert not backend.load(1, tail)  # 768 cells: 600 are in use
    assert np.array_equal(next_logits(backend, 1, 100), before)
    backend.trim(2, 0)
    assert backend.load(1, tail)


@pytest.mark.parametrize("damage", ["cut", "magic", "type", "longer"])
def test_a_damaged_state_is_not_loaded(backend: Backend, damage: str) -> None:
    compute(backend, 0, TOKENS[:100])
    before, state = next_logits(backend, 0, 100), bytearray(backend.save(0, 50))
    if damage == "cut":
        del state[len(state) // 2 :]
    elif damage == "longer":
        state += b"\0"
    elif damage == "magic":
        state[0] ^= 1
    else:
        state[16 + 50 * 12 + 8] ^= 255  # the type of the keys, behind 50 cells and two numbers
    backend.trim(0, 50)
    assert not backend.load(0, bytes(state))
    compute(backend, 0, TOKENS[50:100], 50)
    assert np.allclose(next_logits(backend, 0, 100), before, atol=0.05)  # another batch shape


def test_all_sequences_and_the_one_to_copy_through_are_apart(backend: Backend) -> None:
    for sequence in range(4):
        compute(backend, sequence, TOKENS[sequence : sequence + 40])
    before = [next_logits(backend, sequence, 40) for sequence in range(4)]
    blocks = [[backend.save(sequence, start, start + 20) for start in (0, 20)] for sequence in range(4)]
    empty(backend)
    for number in (0, 1):
        for sequence in (2, 0, 3, 1):
            assert backend.load(sequence, blocks[sequence][number])
    for sequence in range(4):
        assert same_but_for_order(next_logits(backend, sequence, 40), before[sequence])


def test_states_name_what_they_depend_on(tmp_path: Path) -> None:
    path = tiny_models.transformer(tmp_path / "a.gguf")
    variants: list[dict[str, Any]] = [{}, {"kv_type": "q8_0"}, {"yarn": 2.0}, {"context_tokens": 256}]
    lines = []
    for config in variants:
        opened = open_tiny(path, **config)
        lines.append(opened.state_fingerprint)
        opened.close()
    assert len(set(lines[:3])) == 3
    assert lines[3] == lines[0]  # KV does not depend on how much of it there may be


def test_yarn_changes_positions_and_the_context(tmp_path: Path) -> None:
    path = tiny_models.transformer(tmp_path / "a.gguf")
    plain, stretched = open_tiny(path), open_tiny(path, yarn=4.0, context_tokens=8192)
    assert (plain.info.context_length, stretched.info.context_length) == (2048, 8192)
    assert stretched.capabilities.num_cells == 8192
    difference = compute(plain, 0, TOKENS[:100]) - compute(stretched, 0, TOKENS[:100])
    assert np.abs(difference).max() > 0.01
    plain.close()
    stretched.close()


def test_yarn_that_the_file_documents_needs_no_option(tmp_path: Path) -> None:
    scaling = {
        "rope__scaling__type": ("str", "yarn"),
        "rope__scaling__factor": ("f32", 4.0),
        "rope__scaling__original_context_length": ("u32", 2048),
    }
    documented = open_tiny(tiny_models.transformer(tmp_path / "yarn.gguf", **scaling), context_tokens=8192)
    asked = open_tiny(tiny_models.transformer(tmp_path / "plain.gguf"), context_tokens=8192, yarn=4.0)
    assert documented.info.context_length == 8192
    assert np.array_equal(compute(documented, 0, TOKENS[:100]), compute(asked, 0, TOKENS[:100]))
    documented.close()
    asked.close()


def test_what_the_model_does_not_document_is_refused(tmp_path: Path) -> None:
    path = tiny_models.transformer(tmp_path / "a.gguf")
    with pytest.raises(ConfigError, match=r"2049 is more than the 2048 tokens .* --yarn 2"):
        open_tiny(path, context_tokens=2049)
    with pytest.raises(ConfigError, match="no rotary positions"):
        open_tiny(tiny_models.recurrent(tmp_path / "r.gguf"), yarn=2.0)
    with pytest.raises(ConfigError, match="--max-live 256 is more than the 255"):
        open_tiny(path, max_live=256)


@pytest.mark.model
@pytest.mark.timeout(240)
@pytest.mark.parametrize("kv_type", ["f16", "q8_0"])
def test_the_real_model_goes_on_from_blocks(kv_type: Any) -> None:
    backend = open_backend(
        EngineConfig(backend="llamacpp", model=DEFAULT, context_tokens=1024, kv_type=kv_type, cache_bytes=0)
    )
    tokens = backend.tokenizer.encode("def add(a, b):\n    return a + b\n\n\n" * 30, special=False)[:300]
    before = compute(backend, 0, tokens)
    blocks = [backend.save(0, start, start + 100) for start in (0, 100, 200)]
    assert backend.state_bytes(blocks[0]) < 100 * (13_000 if kv_type == "f16" else 7_000)
    expected = next_logits(backend, 0, 300)
    backend.trim(0, 0)
    assert all(backend.load(1, block) for block in blocks)
    assert np.array_equal(next_logits(backend, 1, 300), expected)
    assert before.shape == (151_936,)
    backend.close()


@pytest.mark.model
def test_the_real_model_has_a_documented_end() -> None:
    with pytest.raises(ConfigError, match=r"40000 is more than the 32768 tokens .* --yarn 2"):
        open_backend(EngineConfig(model=DEFAULT, context_tokens=40_000))
