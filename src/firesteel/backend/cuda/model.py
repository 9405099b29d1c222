"""The model: Llama, Qwen2, Qwen3 and Qwen3 with experts, from a step's rows to logits.

Every product, rotation and attention is one of `kernels`, either plain PyTorch or Triton; the model is the same.
"""

from typing import Any

import torch

from firesteel.backend.cuda.cache import Cache
from firesteel.backend.cuda.inputs import MOST_FEW, Inputs
from firesteel.backend.cuda.kernels.base import Kernels
from firesteel.backend.cuda.kernels.plain import normalised
from firesteel.backend.cuda.pages import PAGE
from firesteel.backend.cuda.weights import Experts, Layer, Weights, floats

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
        return x + mixture(inner, layer.experts, weights.dtype)
    assert layer.gate_up is not None
    assert layer.down is not None
    inner = kernels.product(x, layer.gate_up, weights, norm=layer.feed_forward_norm, is_gated=True)
    return kernels.product(inner, layer.down, weights, residual=x)


def mixture(x: Tensor, experts: Experts, dtype: Any) -> Tensor:
    """Return the sum of each row's likeliest experts, by their chances among themselves; float32."""
    chances = torch.softmax(x @ experts.router.T, dim=-1)
    top = chances.topk(experts.num_used, dim=-1)
    shares = top.values / top.values.sum(-1, keepdim=True)
    few = x.shape[0] <= MOST_FEW  # a graph may hold it
    return (few_rows if few else many_rows)(x.to(dtype), experts, top.indices, shares)


def few_rows(x: Tensor, experts: Experts, chosen: Tensor, shares: Tensor) -> Tensor:
    """Compute experts by gathering their weights for each row: fixed shapes, so a graph can hold it."""
    out = torch.zeros(x.shape, dtype=torch.float32, device=x.device)
    for rank in range(experts.num_used):
        expert = chosen[:, rank]
        hidden = gathered(x, experts.gate_up, expert)
        gate, up = hidden.chunk(2, dim=-1)
        inner = (torch.nn.functional.silu(gate) * up).to(x.dtype)
        out += gathered(inner, experts.down, expert) * shares[:, rank, None]
    return out


def gathered(x: Tensor, matrix: Any, expert: Tensor) -> Tensor:
    """Return each row times the matrix of its expert, float32."""
    found = torch.bmm(matrix.data[expert].to(x.dtype), x.unsqueeze(-1)).squeeze(-1).float()
    return found if matrix.scale is None else found * matrix.scale[expert]


def many_rows(x: Tensor, experts: Experts, chosen: Tensor, shares: Tensor) -> Tensor:
    """Compute experts one by one, each for the rows that chose it."""
    out = torch.zeros(x.shape, dtype=torch.float32, device=x.device)
    for expert in chosen.unique().tolist():
        row, rank = (chosen == expert).nonzero(as_tuple=True)
        matrices = (type(experts.gate_up)(*(None if t is None else t[expert] for t in m)) for m in experts[1:3])
        gate_up, down = (floats(matrix).to(x.dtype) for matrix in matrices)
        gate, up = (x[row] @ gate_up.T).float().chunk(2, dim=-1)
        inner = (torch.nn.functional.silu(gate) * up).to(x.dtype)
        out.index_add_(0, row, (inner @ down.T).float() * shares[row, rank, None])
    return out


def logits(x: Tensor, weights: Weights, kernels: Kernels) -> Tensor:
    """Return the logits of rows that `forward` returned [rows, vocabulary], float32."""
    return kernels.product(x, weights.head, weights, norm=weights.norm)


def best(x: Tensor, weights: Weights, kernels: Kernels) -> Tensor:
    """Return the likeliest token of each row, -1 where the numbers are invalid."""
    values, tokens = kernels.best(x, weights.head, weights, norm=weights.norm)
    return torch.where(torch.isfinite(values), tokens, -1)
