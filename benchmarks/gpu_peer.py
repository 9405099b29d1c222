"""For gpu.py: transformers with a static cache, compiled, on random weights of the same shape."""

import time
from typing import Any

import torch

from firesteel.backend.native.description import Shape


def tokens_per_second(shape: Shape, device: Any, prompt: int, total: int) -> float:
    """Return greedy tokens a second of one stream after `prompt` tokens. ImportError where it is not installed."""
    from transformers import Qwen2Config, Qwen2ForCausalLM, StaticCache

    config = Qwen2Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.embedding,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        tie_word_embeddings=True,
    )
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    model = Qwen2ForCausalLM(config).to(device, dtype).eval()
    cache = StaticCache(config=config, max_cache_len=prompt + total + 64)
    step = torch.compile(
        model.forward, mode="max-autotune-no-cudagraphs" if device.type == "cpu" else "reduce-overhead"
    )
    position = torch.arange(prompt, device=device)
    ids = torch.randint(0, shape.vocabulary, (1, prompt), device=device)
    found = model(input_ids=ids, past_key_values=cache, cache_position=position, use_cache=True)
    token, started = found.logits[:, -1:].argmax(-1), 0.0
    for index in range(total + 32):
        if index == 32:  # what came before compiled
            token.item()
            started = time.perf_counter()
        at = torch.tensor([prompt + index], device=device)
        found = step(input_ids=token.clone(), past_key_values=cache, cache_position=at, use_cache=True)
        token = found.logits[:, -1:].argmax(-1)
    token.item()
    return total / (time.perf_counter() - started)
