"""All kernels in plain PyTorch: what the Triton ones compute, on any device. Prefill on a GPU runs on these, too."""

from typing import Any

import torch
from torch.nn.functional import linear, scaled_dot_product_attention, silu

from firesteel.backend.cuda.inputs import Inputs, Run
from firesteel.backend.cuda.pages import PAGE
from firesteel.backend.cuda.weights import Layer, Matrix, Weights

Tensor = Any  # torch.Tensor


class PlainKernels:
    """`kernels.base.Kernels` without a kernel of our own."""

    name = "plain"

    def product(
        self,
        x: Tensor,
        matrix: Matrix,
        weights: Weights,
        *,
        norm: Tensor | None = None,
        bias: Tensor | None = None,
        residual: Tensor | None = None,
        is_gated: bool = False,
    ) -> Tensor:
        """See `Kernels.product`."""
        if norm is not None:
            x = normalised(x, norm, weights.shape.epsilon)
        found = linear(x.to(weights.dtype), matrix.data.to(weights.dtype)).float()
        if matrix.scale is not None:
            found = found * matrix.scale
        if bias is not None:
            found = found + bias
        if is_gated:
            gate, up = found.chunk(2, dim=-1)
            found = silu(gate) * up
        return found if residual is None else residual + found

    def routed(self, x: Tensor, matrix: Matrix, chosen: Tensor, weights: Weights, *, is_gated: bool = False) -> Tensor:
        """See `Kernels.routed`: expert by expert, which the host must know, so that no graph can hold it."""
        num_pairs, columns = chosen.shape[0], matrix.data.shape[1] // (2 if is_gated else 1)
        found = torch.empty((num_pairs, columns), dtype=torch.float32, device=x.device)
        for expert in chosen.unique().tolist():
            pairs = (chosen == expert).nonzero()[:, 0]
            one = Matrix(*(None if part is None else part[expert] for part in matrix))
            found[pairs] = self.product(x[pairs // (num_pairs // x.shape[0])], one, weights, is_gated=is_gated)
        return found

    def rotate_and_write(
        self, qkv: Tensor, layer: Layer, weights: Weights, positions: Tensor, slots: Tensor, kv: Tensor
    ) -> Tensor:
        """See `Kernels.rotate_and_write`."""
        shape = weights.shape
        heads = qkv.view(qkv.shape[0], -1, shape.head_size)
        queries, keys, values = heads.split([shape.heads, shape.kv_heads, shape.kv_heads], dim=1)
        if layer.query_norm is not None:
            queries = normalised(queries, layer.query_norm, shape.epsilon)
        if layer.key_norm is not None:
            keys = normalised(keys, layer.key_norm, shape.epsilon)
        # In float32 the angle of position 100,000 would be off by 0.004.
        angles = (positions[:, None] * weights.frequencies.double())[:, None, :]
        cosine, sine = angles.cos().float(), angles.sin().float()
        kv[0].flatten(0, 1)[slots] = rotated(keys, cosine, sine).to(kv.dtype)
        kv[1].flatten(0, 1)[slots] = values.to(kv.dtype)
        return rotated(queries, cosine, sine)

    def attend(self, queries: Tensor, kv: Tensor, tables: Tensor, inputs: Inputs) -> Tensor:
        """See `Kernels.attend`: sequence by sequence, over a gathered copy of its KV."""
        out = torch.zeros_like(queries)
        for run in inputs.runs:
            rows = slice(run.first, run.first + run.size)
            out[rows] = attend_run(queries[rows], kv, tables[run.sequence], inputs.positions[rows], run)
        return out.flatten(1)

    def best(self, x: Tensor, matrix: Matrix, weights: Weights, *, norm: Tensor) -> tuple[Tensor, Tensor]:
        """See `Kernels.best`."""
        found = self.product(x, matrix, weights, norm=norm).max(dim=-1)
        return found.values, found.indices


def normalised(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """Return `x` over its root mean square, times `weight`, in float32."""
    x = x.float()
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + epsilon) * weight


def rotated(heads: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Return heads with the dimensions i and i + half turned by their angle."""
    one, other = heads.chunk(2, dim=-1)
    return torch.cat([one * cosine - other * sine, one * sine + other * cosine], dim=-1)


def attend_run(queries: Tensor, kv: Tensor, table: Tensor, positions: Tensor, run: Run) -> Tensor:
    """Return the attention of one sequence's rows [size, heads, head size]."""
    pages = table[: -(-run.end // PAGE)].long()
    keys, values = kv[:, pages].flatten(1, 2)[:, : run.end]
    if not run.is_exact:  # beyond the last row lies what others left, and nothing times not-a-number is none
        is_known = (torch.arange(run.end, device=positions.device) <= positions[-1])[:, None, None]
        keys, values = keys.where(is_known, 0), values.where(is_known, 0)
    dtype = keys.dtype if queries.is_cuda else torch.float32
    group = queries.shape[1] // keys.shape[1]
    keys, values = (heads.repeat_interleave(group, dim=1) for heads in (keys, values))
    queries, keys, values = (heads.to(dtype).transpose(0, 1)[None] for heads in (queries, keys, values))
    mask = causal_mask(positions, run) if run.size > 1 or not run.is_exact else None
    is_causal = mask is None and run.size > 1
    found = scaled_dot_product_attention(queries, keys, values, attn_mask=mask, is_causal=is_causal)
    return found[0].transpose(0, 1).float()


def causal_mask(positions: Tensor, run: Run) -> Any:
    """Return which positions a row sees; None where PyTorch's own causal mask says the same."""
    if run.is_exact and run.size == run.end:
        return None
    if run.is_exact and positions.is_cuda:
        from torch.nn.attention.bias import causal_lower_right

        return causal_lower_right(run.size, run.end)
    return torch.arange(run.end, device=positions.device) <= positions[:, None]
