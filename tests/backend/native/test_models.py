"""Whole models against llama.cpp on the same file: tiny random ones of every architecture and weight format."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from firesteel.backend.base import Backend, Rows, Want
from firesteel.backend.llamacpp.backend import LlamaBackend
from firesteel.backend.native.backend import NativeBackend
from firesteel.errors import ConfigError
from tests.backend import tiny_models
from tests.backend.native.models import ARCHITECTURES, TOKENS, all_logits, in_format, model, open_model
from tests.backend.native.oracle import FORMATS, Floats
from tests.backend.tiny_models import Sizes

# Root mean square difference of a row's logits, as a share of their spread (about 3). Floats: llama.cpp rounds keys and
# values to half floats, ours to 15 and 13 bits; BF16: it rounds activations, too. Quantised: it rounds activations to
# 8 bits with scales in half precision, and for K-quants with one scale for 256; ours with one for 32.
# Measured: half to nine tenths of these, in the worst row.
BOUND = {"f32": 0.003, "f16": 0.004, "bf16": 0.02, "q4_K": 0.08, "q5_K": 0.08, "q6_K": 0.08}
OTHER_BOUND = 0.05
NUM_TOKENS = 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


def both(path: Path, **config: Any) -> tuple[Floats, Floats]:
    """The logits of some tokens, by the native backend and by llama.cpp."""
    native, other = open_model(path, **config), open_model(path, "llamacpp", **config)
    assert isinstance(native, NativeBackend)
    assert isinstance(other, LlamaBackend)
    found = all_logits(native, TOKENS[:NUM_TOKENS]), all_logits(other, TOKENS[:NUM_TOKENS])
    native.close()
    other.close()
    return found


def row_errors(found: Floats, expected: Floats) -> Floats:
    errors: Floats = np.sqrt(((found - expected) ** 2).mean(axis=1)) / expected.std(axis=1)
    return errors


def assert_agree(found: Floats, expected: Floats, bound: float) -> None:
    """All rows are within the bound, and prefer the same token unless two are as close."""
    errors = row_errors(found, expected)
    assert errors.max() <= bound
    for ours, theirs in zip(found, expected, strict=True):
        lost = theirs.max() - theirs[ours.argmax()]
        assert lost <= 8 * bound * theirs.std()  # two of 258 errors, each at most four times their mean square


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3"])
def test_logits_are_those_of_llama_cpp(folder: Path, architecture: str, name: str) -> None:
    assert_agree(*both(model(folder, architecture, name)), BOUND.get(name, OTHER_BOUND))


@pytest.mark.parametrize(("name", "used"), [*((name, 8) for name in FORMATS), ("f32", 1), ("f32", 2), ("f16", 2)])
def test_experts_are_those_of_llama_cpp(folder: Path, name: str, used: int) -> None:
    """Quantised only with all experts: a router that is nearly undecided sends a row to another, with other logits."""
    sizes = Sizes(inner=256, experts_used=used)
    assert_agree(*both(model(folder, "qwen3moe", name, sizes=sizes)), BOUND.get(name, OTHER_BOUND))


SIZES = {
    "head of 32": Sizes(head=32, heads=8, kv_heads=2),
    "head of 96": Sizes(head=96, heads=3, kv_heads=1),
    "head of 128": Sizes(head=128, heads=4, kv_heads=4),
    "one layer": Sizes(layers=1),
    "narrow": Sizes(width=96, inner=160, head=32, heads=5, kv_heads=5),
    "tied": Sizes(is_tied=True),
}


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("architecture", ["llama", "qwen3moe"])
@pytest.mark.parametrize("name", ["f32", "q8_0"])
def test_other_sizes(folder: Path, architecture: str, sizes: Sizes, name: str) -> None:
    path = model(folder, architecture, name, sizes=sizes._replace(experts=4, experts_used=4))
    assert_agree(*both(path), BOUND.get(name, OTHER_BOUND))


@pytest.mark.parametrize("inner", [16, 40, 72])
def test_a_feed_forward_part_that_is_no_multiple_of_a_group(folder: Path, inner: int) -> None:
    for architecture in ("llama", "qwen3moe"):
        sizes = Sizes(width=64, inner=inner, head=32, heads=2, kv_heads=1)
        assert_agree(*both(model(folder, architecture, "f16", sizes=sizes)), BOUND["f16"])


@pytest.mark.parametrize("head", ["q8_0", "q6_K", "q4_0", "f16", "f32"])
def test_a_last_matrix_of_another_format(folder: Path, head: str) -> None:
    assert_agree(*both(model(folder, "qwen2", "q4_0", head)), BOUND.get(head, OTHER_BOUND) + OTHER_BOUND)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_eight_bit_keys_and_values(folder: Path, architecture: str) -> None:
    """Within 5 % of llama.cpp's own q8_0, which has one scale for 32 values where ours has one for a head's."""
    path = model(folder, architecture, "f32", sizes=Sizes(experts=4, experts_used=4))
    assert_agree(*both(path, kv_type="q8_0"), 0.05)


def greedy(backend: Backend, prompt: list[int], count: int) -> list[int]:
    tokens = list(prompt)
    for _ in range(count):
        new = tokens if len(tokens) == len(prompt) else tokens[-1:]
        backend.submit([Rows(0, len(tokens) - len(new), new, Want.BEST)])
        tokens += backend.wait()[0].tokens
    backend.trim(0, 0)
    return tokens[len(prompt) :]


@pytest.mark.parametrize("name", ["q4_0", "q8_0", "q4_K", "f16"])
def test_greedy_text_is_that_of_llama_cpp(folder: Path, name: str) -> None:
    """Equal until the two best tokens are closer than four times the bound."""
    path = model(folder, "qwen2", name)
    native, other = open_model(path), open_model(path, "llamacpp")
    equal = 0
    for start in range(12):
        prompt = TOKENS[start * 7 : start * 7 + 6 + start]
        found, expected = greedy(native, prompt, 16), greedy(other, prompt, 16)
        equal += found == expected
        differs = next((i for i in range(16) if found[i] != expected[i]), None)
        if differs is not None:
            logits = all_logits(other, prompt + expected[:differs])[-1]
            allowed = 4 * BOUND.get(name, OTHER_BOUND) * logits.std()
            assert logits.max() - logits[found[differs]] <= allowed
    assert equal >= 3
    native.close()
    other.close()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_auto_takes_own_kernels_where_they_know_the_architecture(folder: Path, architecture: str) -> None:
    opened = open_model(model(folder, architecture), "auto")
    assert isinstance(opened, NativeBackend)
    opened.close()


def test_auto_leaves_all_else_to_llama_cpp(tmp_path: Path) -> None:
    others = [tiny_models.recurrent(tmp_path / "mamba.gguf"), tiny_models.windowed(tmp_path / "gemma.gguf")]
    scaled = {"rope__scaling__type": ("str", "linear"), "rope__scaling__factor": ("f32", 2.0)}
    others.append(tiny_models.transformer(tmp_path / "scaled.gguf", **scaled))

    def unknown_type(tensor: str, weight: Floats) -> tuple[int, bytes]:
        kind, data = in_format("q8_0")(tensor, weight)
        return (20, bytes(weight.size // 32 * 18)) if tensor.endswith("attn_v.weight") else (kind, data)  # IQ4_NL

    others.append(tiny_models.decoder(tmp_path / "iq4.gguf", "llama", Sizes(), unknown_type))
    for path in others:
        opened = open_model(path, "auto")
        assert isinstance(opened, LlamaBackend)
        opened.close()
        with pytest.raises(ConfigError, match=f"--backend native cannot run {path.name}: .*; leave it to `auto`"):
            open_model(path, "native")


def test_stretched_positions_are_left_to_llama_cpp(folder: Path) -> None:
    opened = open_model(model(folder), "auto", yarn=2.0)
    assert isinstance(opened, LlamaBackend)
    opened.close()
    with pytest.raises(ConfigError, match="--yarn"):
        open_model(model(folder), "native", yarn=2.0)
