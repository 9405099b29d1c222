"""Sizes from the header, and the context that a file documents."""

from pathlib import Path

import pytest

from firesteel.errors import ModelError
from firesteel.models.dimensions import dimensions
from firesteel.models.gguf import Header, Tensor, read_context, read_header
from tests.backend import tiny_models


def header(tensors: dict[str, tuple[int, ...]], **metadata: int | str) -> Header:
    found = tuple(Tensor(name, shape, 0, 0, 0) for name, shape in tensors.items())
    named: dict[str, int | float | str] = {"general.architecture": "x"}
    named |= {f"x.{key.replace('__', '.')}": value for key, value in metadata.items()}
    return Header(metadata=named, tensors=found, file_bytes=0)


def test_grouped_heads_cache_their_own_width() -> None:
    found = dimensions(header({
        "token_embd.weight": (896, 151_936),
        "blk.0.attn_k.weight": (896, 128),
        "blk.0.attn_v.weight": (896, 128),
        "blk.0.ffn_up.weight": (896, 4864),
        "blk.1.attn_k.weight": (896, 64),  # layers may differ
        "blk.1.attn_v.weight": (896, 32),
    }, attention__head_count=14))  # fmt: skip
    assert (found.cached_elements, found.num_heads) == (352, 14)
    assert (found.widest_row, found.vocabulary) == (4864, 151_936)


def test_fused_and_latent_attention() -> None:
    assert dimensions(header({"blk.0.attn_qkv.weight": (768, 2304)})).cached_elements == 1536
    latent = {"blk.0.attn_kv_a_mqa.weight": (2048, 576), "blk.0.attn_k_b.weight": (128, 512, 16)}
    assert dimensions(header(latent)).cached_elements == 576


def test_recurrent_layers_keep_a_state_instead(tmp_path: Path) -> None:
    found = dimensions(read_header(tiny_models.recurrent(tmp_path / "tiny.gguf")))
    assert found.cached_elements == found.num_heads == 0
    assert found.state_bytes == 2 * 4 * (3 * 64 + 64 * 16)


SCALED: dict[str, int | float | str] = {
    "x.context_length": 32_768,
    "x.rope.scaling.type": "yarn",
    "x.rope.scaling.factor": 4.0,
    "x.rope.scaling.original_context_length": 32_768,
}


def test_a_documented_stretch_counts_whichever_length_the_file_gives() -> None:
    given_as_trained = read_context(SCALED, "x")
    given_as_stretched = read_context(SCALED | {"x.context_length": 131_072}, "x")
    assert given_as_trained == given_as_stretched
    assert (given_as_trained.trained, given_as_trained.limit) == (32_768, 131_072)


@pytest.mark.parametrize("scaling", ["linear", "longrope"])
def test_other_scalings_are_in_the_length_already(scaling: str) -> None:
    found = read_context(SCALED | {"x.rope.scaling.type": scaling, "x.context_length": 131_072}, "x")
    assert (found.limit, found.scaling) == (131_072, scaling)


def test_no_scaling() -> None:
    plain: dict[str, int | float | str] = {"x.context_length": 2048}
    for metadata in (plain, SCALED | plain | {"x.rope.scaling.type": "none"}):
        found = read_context(metadata, "x")
        assert (found.trained, found.limit, found.scaling) == (2048, 2048, None)
    with pytest.raises(ModelError, match="context length"):
        read_context({}, "x")
