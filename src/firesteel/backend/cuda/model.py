"""The model: Llama, Qwen2, Qwen3 and Qwen3 with experts, from a step's rows to logits.

Every product, rotation and attention is one of `kernels`, either plain PyTorch or Triton; the model is the same.
"""

from typing import Any

import torch

from firesteel.backend.cuda.cache import Cache
from firesteel.backend.cuda.inputs import Inputs
from firesteel.backend.cuda.kernels.base import Kernels
from firesteel.backend.cuda.kernels.plain import normalised
from firesteel.backend.cuda.pages import PAGE
from firesteel.backend.cuda.weights import Experts, Layer, Weights

Tensor = Any  # torch.Tensor


def forward(weights: Weights, kernels: Kernels, cache: Cache, inputs: Inputs) -> Tensor:
    """Compute a step's rows, writing their KV; return what the last layer leaves [rows, width], float32."""
    pages = cache.tables[inputs.sequences, inputs.positions // PAGE].long()
    slots = pages * PAGE + inputs.positions % PAGE
    cache.tokens.view(-1)[slots] = inputs.tokens.to(torch.int32)
    x = weights.embedding[inputs.tokens].float()
    for index, layer in enumerate(weights.layers):
        kv = cache.kv[index]
        qkv = kernels.product(x, layer.qkv, weights, norm=layer.attention_norm, bias=layer.qkv_bias)
        queries = kernels.rotate_and_write(qkv, layer, weights, inputs.positions, slots, kv)
        attended = kernels.attend(queries, kv, cache.tables, inputs)
        x = kernels.product(attended, layer.output, weights, residual=x)
        x = feed_forward(x, layer, weights, kernels)
    return x


def feed_forward(x: Tensor, layer: Layer, weights: Weights, kernels: Kernels) -> Tensor:
    """Return `x` and what the second half of a layer adds to it."""
    if layer.experts is not None:
        inner = normalised(x, layer.feed_forward_norm, weights.shape.epsilon)
        return x + mixture(inner, layer.experts, weights, kernels)
    assert layer.gate_up is not None
    assert layer.down is not None
    inner = kernels.product(x, layer.gate_up, weights, norm=layer.feed_forward_norm, is_gated=True)
    return kernels.product(inner, layer.down, weights, residual=x)


def mixture(x: Tensor, experts: Experts, weights: Weights, kernels: Kernels) -> Tensor:
    """Return the sum of each row's likeliest experts, by their chances among themselves; float32."""
    chances = torch.softmax(x @ experts.router.T, dim=-1)
    top = chances.topk(experts.num_used, dim=-1)
    shares = top.values / top.values.sum(-1, keepdim=True)
    chosen = top.indices.flatten()
    inner = kernels.routed(x, experts.gate_up, chosen, weights, is_gated=True)
    found = kernels.routed(inner, experts.down, chosen, weights)
    return (found.view(*shares.shape, -1) * shares[..., None]).sum(1)


def logits(x: Tensor, weights: Weights, kernels: Kernels) -> Tensor:
    """Return the logits of rows that `forward` returned [rows, vocabulary], float32."""
    return kernels.product(x, weights.head, weights, norm=weights.norm)


def best(x: Tensor, weights: Weights, kernels: Kernels) -> Tensor:
    """Return the likeliest token of each row, -1 where the numbers are invalid."""
    values, tokens = kernels.best(x, weights.head, weights, norm=weights.norm)
    return torch.where(torch.isfinite(values), tokens, -1)
