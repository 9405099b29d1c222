"""A folder of safetensors is the GGUF file that was made of it."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from firesteel.backend import open_backend, open_tokenizer
from firesteel.config import EngineConfig
from firesteel.errors import ConfigError, FiresteelError
from firesteel.models.folder import INNER, OUTER
from tests.backend import tiny_models
from tests.backend.cuda.running import SMALL, close_to, open_cuda
from tests.backend.native.models import ARCHITECTURES, TOKENS, all_logits
from tests.backend.native.oracle import Floats

TYPES = {"qwen3moe": "qwen3_moe"}
NAMES = {known: name for name, known in INNER.items()}


def folder_of(path: Path, architecture: str) -> tuple[Path, Path]:
    """A GGUF file, and the same model as a folder, with that file as its vocabulary."""
    tensors: dict[str, Floats] = {}

    def keep(name: str, weight: Floats) -> tuple[int, bytes]:
        tensors[name] = weight
        return tiny_models.as_floats(name, weight)

    file = tiny_models.decoder(path / f"{architecture}.gguf", architecture, SMALL, keep)
    folder = path / architecture
    folder.mkdir()
    shutil.copy(file, folder / "vocabulary.gguf")
    names = [(name, weight) for known, one in tensors.items() for name, weight in renamed(known, one, architecture)]
    half = len(names) // 2
    for index, part in enumerate((names[:half], names[half:])):
        save_file(dict(part), folder / f"model-{index}.safetensors")
    (folder / "config.json").write_text(json.dumps(config_of(architecture)))
    return file, folder


def renamed(known: str, weight: Floats, architecture: str) -> list[tuple[str, Floats]]:
    """A tensor under Hugging Face's name, halves paired; experts one by one."""
    outer = {gguf: name for name, gguf in OUTER.items()}
    if known in outer:
        return [(outer[known], weight)]
    _, layer, part, kind = known.split(".")
    if part.endswith("_exps"):
        inner = part.removeprefix("ffn_").removesuffix("_exps")
        return [(f"model.layers.{layer}.mlp.experts.{at}.{inner}_proj.weight", one) for at, one in enumerate(weight)]
    if architecture == "llama" and part in ("attn_q", "attn_k"):
        pairs = weight.reshape(-1, SMALL.head // 2, 2, weight.shape[-1])
        weight = np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(weight.shape))
    return [(f"model.layers.{layer}.{NAMES[part]}.{kind}", weight)]


def config_of(architecture: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "model_type": TYPES.get(architecture, architecture),
        "max_position_embeddings": 2048,
        "hidden_size": SMALL.width,
        "num_hidden_layers": SMALL.layers,
        "intermediate_size": SMALL.inner,
        "num_attention_heads": SMALL.heads,
        "num_key_value_heads": SMALL.kv_heads,
        "head_dim": SMALL.head,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10_000.0,
    }
    if architecture == "qwen3moe":
        found |= {"num_experts": SMALL.experts, "num_experts_per_tok": SMALL.experts_used}
        found |= {"moe_intermediate_size": SMALL.inner, "norm_topk_prob": True}
    return found


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_logits_are_those_of_the_gguf_file(tmp_path: Path, architecture: str) -> None:
    file, folder = folder_of(tmp_path, architecture)
    expected_of, found_of = open_cuda(file), open_cuda(folder)
    expected, found = all_logits(expected_of, TOKENS[:20]), all_logits(found_of, TOKENS[:20])
    assert found_of.info.name == architecture
    assert found_of.state_fingerprint != expected_of.state_fingerprint
    expected_of.close()
    found_of.close()
    assert close_to(found, expected)
    tokenizer = open_tokenizer(EngineConfig(backend="cuda", model=str(folder)))
    assert tokenizer.encode("ab", special=False) == [256]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": "gemma3"}, "model_type gemma3 is not among"),
        ({"rope_scaling": {"rope_type": "llama3"}}, "rope.scaling.type is not known"),
        ({"use_sliding_window": True, "sliding_window": 64}, "sliding_window is not known"),
        ({"norm_topk_prob": False}, "norm_topk_prob"),
        ({"hidden_size": 128}, "has the shape"),
        ({"num_hidden_layers": 3}, "layer 2 is missing"),
    ],
)
def test_what_is_not_known_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    _, folder = folder_of(tmp_path, "qwen2")
    (folder / "config.json").write_text(json.dumps(config_of("qwen2") | change))
    with pytest.raises(FiresteelError, match=said):
        open_cuda(folder)


def test_other_backends_refuse_a_folder(tmp_path: Path) -> None:
    _, folder = folder_of(tmp_path, "qwen2")
    for config, said in (({}, "needs --backend cuda"), ({"quantize": "q8_0", "backend": "cuda"}, "needs a GGUF file")):
        with pytest.raises(ConfigError, match=said):
            open_backend(EngineConfig(model=str(folder), **config))  # type: ignore[arg-type]


@pytest.mark.parametrize("damage", ["no vocabulary", "no weights", "a cut file", "no JSON"])
def test_a_damaged_folder_is_an_error_of_ours(tmp_path: Path, damage: str) -> None:
    _, folder = folder_of(tmp_path, "qwen2")
    if damage == "no vocabulary":
        (folder / "vocabulary.gguf").unlink()
    elif damage == "no weights":
        for file in folder.glob("*.safetensors"):
            file.unlink()
    elif damage == "a cut file":
        (folder / "model-0.safetensors").write_bytes(b"\xff" * 9)
    else:
        (folder / "config.json").write_text("{")
    with pytest.raises(FiresteelError, match="qwen2"):
        open_cuda(folder)
