from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firesteel import machine
from firesteel.backend import open_backend
from firesteel.backend.blueprint import draw
from firesteel.backend.memory import Memory, bytes_per_token, compute_bytes, estimate, kv_bytes, require
from firesteel.backend.sizes import sizes
from firesteel.config import EngineConfig
from firesteel.errors import ConfigError
from tests.backend import tiny_models
from tests.backend.test_sizes import DOCUMENTED, dimensions

MIB = 1 << 20

# What llama-cpp-python 0.3.36 logs for Qwen2.5-Coder-0.5B: context, chunk, KV type → MiB of KV, of its compute buffer.
REPORTED = [
    (4096, 64, "f16", 48.00, 21.46),
    (16_384, 64, "f16", 192.00, 81.22),
    (32_768, 64, "f16", 384.00, 160.91),
    (32_768, 496, "f16", 384.00, 997.65),
    (131_072, 32, "f16", 1536.00, 383.42),
    (32_768, 64, "q8_0", 204.00, 10.95),
    (131_072, 64, "q8_0", 816.00, 26.89),
]
OUTPUT_MIB = 17 * 151_936 * 4 / MIB  # logits that are copied out lie in a buffer of their own


@pytest.mark.parametrize(("context", "chunk", "kv_type", "kv", "compute"), REPORTED)
def test_the_estimate_is_what_llama_cpp_reports(
    context: int, chunk: int, kv_type: Any, kv: float, compute: float
) -> None:
    config = EngineConfig(context_tokens=context, chunk_tokens=chunk, kv_type=kv_type, drafters=())
    found = sizes(config, DOCUMENTED, dimensions())
    assert kv_bytes(config, found, dimensions()) / MIB == kv
    reserved = compute + OUTPUT_MIB
    if kv_type == "f16":  # the weights of attention are converted to float16 in a buffer that is not reported
        reserved += -(-found.max_rows // 17) * 17 * context * 14 * 2 / MIB
    assert reserved <= compute_bytes(config, found, dimensions()) / MIB <= 1.1 * reserved + 2 * OUTPUT_MIB


def test_drafts_need_room_for_the_logits_of_each_guess() -> None:
    """With 48 guesses llama.cpp reserves 38.41 MiB at 4,096 tokens of context; as many logits are copied out."""
    found = sizes(EngineConfig(context_tokens=4096, chunk_tokens=64), DOCUMENTED, dimensions())
    assert found.num_wanted == 16 + 1 + 48
    reserved = 38.41 + found.num_wanted * 151_936 * 4 / MIB
    assert reserved <= compute_bytes(EngineConfig(), found, dimensions()) / MIB <= 1.5 * reserved


def test_bytes_of_a_token() -> None:
    assert bytes_per_token(EngineConfig(), dimensions()) == 12_288
    assert bytes_per_token(EngineConfig(kv_type="q8_0"), dimensions()) == 6_528


@given(low=st.integers(64, 131_072), high=st.integers(64, 131_072), kv_type=st.sampled_from(["f16", "q8_0"]))
def test_more_context_never_needs_less(low: int, high: int, kv_type: Any) -> None:
    totals = []
    for context in sorted((low, high)):
        config = EngineConfig(context_tokens=context, kv_type=kv_type, chunk_tokens=64)
        totals.append(estimate(config, sizes(config, DOCUMENTED, dimensions()), dimensions()).total)
    assert totals == sorted(totals)


NEEDED = Memory(weights=500_000_000, kv=1_600_000_000, compute=600_000_000, cache=512_000_000, program=250_000_000)


def test_the_refusal_names_every_part_and_what_to_lower() -> None:
    require(NEEDED, NEEDED.total, EngineConfig())
    with pytest.raises(ConfigError) as refusal:
        require(NEEDED, NEEDED.total - 1, EngineConfig())
    for words in ("3,462 MB", "weights 500 MB", "KV 1,600 MB", "results 600 MB", "conversations 512 MB"):
        assert words in refusal.value.message
    for option in ("--context", "--kv-type q8_0", "--cache-mb"):
        assert option in refusal.value.message


def test_the_refusal_does_not_name_what_cannot_help() -> None:
    with pytest.raises(ConfigError) as refusal:
        require(NEEDED, NEEDED.total - 1, EngineConfig(kv_type="q8_0"))
    assert "--kv-type" not in refusal.value.message
    with pytest.raises(ConfigError, match="smaller model"):
        require(NEEDED, 600_000_000, EngineConfig())


def test_a_model_that_does_not_fit_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tiny_models.transformer(tmp_path / "tiny.gguf")
    monkeypatch.setattr(machine, "available_bytes", lambda: 10 * MIB)
    with pytest.raises(ConfigError, match="10 MB are available"):
        open_backend(EngineConfig(model=str(path)))


def test_recurrent_states_are_counted_for_each_sequence(tmp_path: Path) -> None:
    path = tiny_models.recurrent(tmp_path / "tiny.gguf")
    few, many = (draw(path, EngineConfig(max_live=live)) for live in (1, 9))
    assert few.dimensions.cached_elements == 0
    assert many.memory.kv - few.memory.kv == 8 * few.dimensions.state_bytes
