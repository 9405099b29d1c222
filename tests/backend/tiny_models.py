"""Tiny models with random weights and a vocabulary of bytes: real libllama in milliseconds, no download."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.models.gguf_writer import string, value

WIDTH, INNER, STATE, HEAD = 32, 64, 16, 32
CONTEXT = 2048
END = "<|end|>"

Weights = dict[str, npt.NDArray[np.float32]]


def byte_letters() -> list[str]:
    """The letters that stand for the 256 bytes in GPT-2's vocabulary."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def write(path: Path, architecture: str, layers: int, settings: dict[str, tuple[str, Any]], weights: Weights) -> Path:
    tokens = [*byte_letters(), "ab", END]
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
        "tokenizer.ggml.token_type": ("[i32]", [*[1] * 257, 3]),
        "tokenizer.ggml.merges": ("[str]", ["a b"]),
        "tokenizer.ggml.eos_token_id": ("u32", 257),
        "tokenizer.ggml.bos_token_id": ("u32", 257),
    }
    header = b"GGUF" + struct.pack("<IQQ", 3, len(weights), len(metadata))
    header += b"".join(string(key) + value(*setting) for key, setting in metadata.items())
    data = b""
    for name, weight in weights.items():
        dimensions = weight.shape[::-1]  # GGUF names the fastest dimension first
        header += string(name) + struct.pack(f"<I{len(dimensions)}QIQ", len(dimensions), *dimensions, 0, len(data))
        data += weight.astype("<f4").tobytes()
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
