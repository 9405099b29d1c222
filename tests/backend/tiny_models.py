"""Tiny models with random weights and a vocabulary of bytes: real libllama in milliseconds, no download."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tests.models.gguf_writer import string, value

WIDTH, INNER, STATE, HEAD = 32, 64, 16, 32
CONTEXT = 2048
END = "<|end|>"

Weights = dict[str, npt.NDArray[np.float32]]
Encode = Callable[[str, npt.NDArray[np.float32]], tuple[int, bytes]]  # ggml type and bytes of a tensor


def as_floats(name: str, weight: npt.NDArray[np.float32]) -> tuple[int, bytes]:
    """Every tensor as F32."""
    return 0, weight.astype("<f4").tobytes()


def byte_letters() -> list[str]:
    """The letters that stand for the 256 bytes in GPT-2's vocabulary."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def write(
    path: Path,
    architecture: str,
    layers: int,
    settings: dict[str, tuple[str, Any]],
    weights: Weights,
    encode: Encode = as_floats,
    fillers: int = 0,
) -> Path:
    """Write a model; `fillers`: words without a use that its vocabulary has, too, behind the others."""
    tokens = [*byte_letters(), "ab", END, *(f"w{number}" for number in range(fillers))]
    metadata: dict[str, tuple[str, Any]] = {
        "general.architecture": ("str", architecture),
        f"{architecture}.context_length": ("u32", CONTEXT),
        f"{architecture}.embedding_length": ("u32", WIDTH),
        f"{architecture}.block_count": ("u32", layers),
        f"{architecture}.attention.layer_norm_rms_epsilon": ("f32", 1e-5),
        **{f"{architecture}.{key}": setting for key, setting in settings.items()},
        "tokenizer.ggml.model": ("str", "gpt2"),
        "tokenizer.ggml.pre": ("str", "gpt-2"),
        "tokenizer.ggml.tokens": ("[str]", tokens),
        "tokenizer.ggml.token_type": ("[i32]", [*[1] * 257, 3, *[1] * fillers]),
        "tokenizer.ggml.merges": ("[str]", ["a b"]),
        "tokenizer.ggml.eos_token_id": ("u32", 257),
        "tokenizer.ggml.bos_token_id": ("u32", 257),
    }
    header = b"GGUF" + struct.pack("<IQQ", 3, len(weights), len(metadata))
    header += b"".join(string(key) + value(*setting) for key, setting in metadata.items())
    data = bytearray()
    for name, weight in weights.items():
        dimensions = weight.shape[::-1]  # GGUF names the fastest dimension first
        kind, content = encode(name, weight)
        header += string(name) + struct.pack(f"<I{len(dimensions)}QIQ", len(dimensions), *dimensions, kind, len(data))
        data += content
        data += b"\0" * (-len(data) % 32)
    path.write_bytes(header + b"\0" * (-len(header) % 32) + data)
    return path


class Draw:
    """Random weights of the right scale, the same in every run."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(7)

    def __call__(self, *shape: int, scale: float | None = None) -> npt.NDArray[np.float32]:
        weight = self._random.standard_normal(shape, dtype=np.float32)
        return weight * np.float32(scale or 1.5 / np.sqrt(shape[-1]))


def ones(*shape: int) -> npt.NDArray[np.float32]:
    return np.ones(shape, dtype=np.float32)


def attention(draw: Draw, block: str) -> Weights:
    return {
        f"{block}.attn_norm.weight": ones(WIDTH),
        f"{block}.attn_q.weight": draw(2 * HEAD, WIDTH),
        f"{block}.attn_k.weight": draw(HEAD, WIDTH),
        f"{block}.attn_v.weight": draw(HEAD, WIDTH),
        f"{block}.attn_output.weight": draw(WIDTH, 2 * HEAD),
        f"{block}.ffn_norm.weight": ones(WIDTH),
        f"{block}.ffn_gate.weight": draw(INNER, WIDTH),
        f"{block}.ffn_up.weight": draw(INNER, WIDTH),
        f"{block}.ffn_down.weight": draw(WIDTH, INNER),
    }


def ends(draw: Draw) -> Weights:
    return {
        "token_embd.weight": draw(258, WIDTH, scale=1.0),
        "output_norm.weight": ones(WIDTH),
        "output.weight": draw(258, WIDTH),
    }


HEADS: dict[str, tuple[str, Any]] = {
    "feed_forward_length": ("u32", INNER),
    "attention.head_count": ("u32", 2),
    "attention.head_count_kv": ("u32", 1),
    "attention.key_length": ("u32", HEAD),
    "attention.value_length": ("u32", HEAD),
}


def transformer(path: Path, **settings: tuple[str, Any]) -> Path:
    """Two layers of the Llama architecture, two heads that share their keys and values."""
    draw = Draw()
    weights = ends(draw)
    for layer in range(2):
        weights |= attention(draw, f"blk.{layer}")
    more = {key.replace("__", "."): setting for key, setting in settings.items()}
    return write(path, "llama", 2, HEADS | {"rope.dimension_count": ("u32", HEAD)} | more, weights)


def windowed(path: Path) -> Path:
    """Six layers of the Gemma 3 architecture, five of which see the last 64 positions only."""
    draw = Draw()
    weights = ends(draw)
    for layer in range(6):
        weights |= attention(draw, f"blk.{layer}") | {
            f"blk.{layer}.attn_q_norm.weight": ones(HEAD),
            f"blk.{layer}.attn_k_norm.weight": ones(HEAD),
            f"blk.{layer}.post_attention_norm.weight": ones(WIDTH),
            f"blk.{layer}.post_ffw_norm.weight": ones(WIDTH),
        }
    return write(path, "gemma3", 6, HEADS | {"attention.sliding_window": ("u32", 64)}, weights)


def recurrent(path: Path) -> Path:
    """Two layers of the Mamba architecture."""
    draw = Draw()
    weights = ends(draw)
    for layer in range(2):
        block = f"blk.{layer}"
        weights |= {
            f"{block}.attn_norm.weight": ones(WIDTH),
            f"{block}.ssm_in.weight": draw(2 * INNER, WIDTH),
            f"{block}.ssm_conv1d.weight": draw(INNER, 4),
            f"{block}.ssm_conv1d.bias": draw(INNER, scale=0.1),
            f"{block}.ssm_x.weight": draw(2 + 2 * STATE, INNER),
            f"{block}.ssm_dt.weight": draw(INNER, 2),
            f"{block}.ssm_dt.bias": draw(INNER, scale=0.1),
            f"{block}.ssm_a": -np.abs(draw(INNER, STATE, scale=0.5)),
            f"{block}.ssm_d": ones(INNER),
            f"{block}.ssm_out.weight": draw(WIDTH, INNER),
        }
    settings: dict[str, tuple[str, Any]] = {
        "feed_forward_length": ("u32", 0),
        "attention.head_count": ("u32", 0),
        "ssm.conv_kernel": ("u32", 4),
        "ssm.inner_size": ("u32", INNER),
        "ssm.state_size": ("u32", STATE),
        "ssm.time_step_rank": ("u32", 2),
    }
    return write(path, "mamba", 2, settings, weights)


class Sizes(NamedTuple):
    """Sizes of a `decoder`; all of its matrices have rows of multiples of 256 unless told otherwise."""

    layers: int = 2
    width: int = 256
    inner: int = 512
    heads: int = 4
    kv_heads: int = 2
    head: int = 64
    experts: int = 8
    experts_used: int = 2
    is_tied: bool = False
    fillers: int = 0  # words of the vocabulary beside bytes and ends
    context: int = CONTEXT


STANDARD = Sizes()


def decoder(path: Path, architecture: str, sizes: Sizes = STANDARD, encode: Encode = as_floats) -> Path:
    """A model of the architectures llama, qwen2 (biases), qwen3 (head norms) or qwen3moe (experts, too)."""
    draw = Draw()
    vocabulary = 258 + sizes.fillers
    weights = {
        "token_embd.weight": draw(vocabulary, sizes.width, scale=1.0),
        "output_norm.weight": around_one(draw, sizes.width),
    }
    if not sizes.is_tied:
        weights["output.weight"] = draw(vocabulary, sizes.width, scale=3 / np.sqrt(sizes.width))
    for layer in range(sizes.layers):
        weights |= decoder_block(draw, f"blk.{layer}", architecture, sizes)
    return write(
        path, architecture, sizes.layers, decoder_settings(architecture, sizes), weights, encode, sizes.fillers
    )


def around_one(draw: Draw, size: int) -> npt.NDArray[np.float32]:
    return 1 + draw(size, scale=0.1)


def decoder_block(draw: Draw, block: str, architecture: str, sizes: Sizes) -> Weights:
    width, queries, keys = sizes.width, sizes.heads * sizes.head, sizes.kv_heads * sizes.head
    shapes: dict[str, tuple[int, ...]] = {
        "attn_q": (queries, width),
        "attn_k": (keys, width),
        "attn_v": (keys, width),
        "attn_output": (width, queries),
    }
    if architecture == "qwen3moe":
        several = sizes.experts
        shapes["ffn_gate_inp"] = (several, width)
        shapes |= {f"ffn_{part}_exps": (several, sizes.inner, width) for part in ("gate", "up")}
        shapes["ffn_down_exps"] = (several, width, sizes.inner)
    else:
        shapes |= {"ffn_gate": (sizes.inner, width), "ffn_up": (sizes.inner, width), "ffn_down": (width, sizes.inner)}
    weights = {f"{block}.{name}.weight": draw(*shape) for name, shape in shapes.items()}
    weights |= {f"{block}.{name}.weight": around_one(draw, width) for name in ("attn_norm", "ffn_norm")}
    if architecture == "qwen2":
        rows = {"attn_q": queries, "attn_k": keys, "attn_v": keys}
        weights |= {f"{block}.{name}.bias": draw(count, scale=0.5) for name, count in rows.items()}
    if architecture in ("qwen3", "qwen3moe"):
        weights |= {f"{block}.{name}_norm.weight": around_one(draw, sizes.head) for name in ("attn_q", "attn_k")}
    return weights


def decoder_settings(architecture: str, sizes: Sizes) -> dict[str, tuple[str, Any]]:
    found: dict[str, tuple[str, Any]] = {
        "context_length": ("u32", sizes.context),
        "embedding_length": ("u32", sizes.width),
        "feed_forward_length": ("u32", sizes.inner),
        "attention.head_count": ("u32", sizes.heads),
        "attention.head_count_kv": ("u32", sizes.kv_heads),
        "attention.key_length": ("u32", sizes.head),
        "attention.value_length": ("u32", sizes.head),
        "rope.freq_base": ("f32", 10_000.0),
    }
    if architecture == "qwen3moe":
        found["expert_count"] = ("u32", sizes.experts)
        found["expert_used_count"] = ("u32", sizes.experts_used)
        found["expert_feed_forward_length"] = ("u32", sizes.inner)
    return found
