"""What the physics allows: the most tokens a second that memory and arithmetic leave room for.

Decode reads every weight once a token, so DRAM bandwidth bounds it. Prefill reads the weights once for many
tokens, so arithmetic bounds it. Both ceilings leave attention and the KV cache out: they are for short
prompts. For mixtures of experts they count all experts, which is more than a token uses.
"""

import math

import msgspec

from firesteel import machine
from firesteel.models.gguf import Header, Tensor


class Ceiling(msgspec.Struct, frozen=True):
    """The best value that could be, and how it was found."""

    value: float
    what: str


EMBEDDING, HEAD, LAYERS, QUERIES = "token_embd.weight", "output.weight", "blk.", ".attn_q.weight"


def bytes_per_token(header: Header) -> int:
    """Return the bytes of weights that one decode step reads.

    That is all of them but the token embedding, of which a step reads one row. Where the file has no head of
    its own, the embedding *is* the head and read as a whole.
    """
    tied = all(tensor.name != HEAD for tensor in header.tensors)
    return sum(tensor.bytes for tensor in header.tensors if tied or tensor.name != EMBEDDING)


def multiply_adds_per_token(header: Header) -> int:
    """Return the multiply-adds that one prompt token costs in the layers' matrices.

    The head is left out: it is computed for a prompt's last token only.
    """
    return sum(num_weights(tensor) for tensor in header.tensors if is_layer_matrix(tensor))


def head_multiply_adds(header: Header) -> int:
    """Return the multiply-adds of one row of logits."""
    weights = {tensor.name: num_weights(tensor) for tensor in header.tensors}
    return weights.get(HEAD, weights.get(EMBEDDING, 0))


def attention_multiply_adds(header: Header) -> int:
    """Return the multiply-adds of one row with one token of history: its scores, and the sum of the values.

    0 for models whose queries have no matrix of their own.
    """
    return sum(2 * tensor.dimensions[1] for tensor in header.tensors if tensor.name.endswith(QUERIES))


def is_layer_matrix(tensor: Tensor) -> bool:
    """Return whether each token is multiplied by `tensor`; norms and biases are not matrices."""
    return tensor.name.startswith(LAYERS) and len(tensor.dimensions) > 1


def num_weights(tensor: Tensor) -> int:
    """Return how many weights `tensor` holds."""
    return math.prod(tensor.dimensions)


def decode_ceiling(header: Header, num_threads: int) -> Ceiling:
    """Measure the DRAM bandwidth and return the tokens a second that it allows."""
    bandwidth = machine.read_bandwidth(num_threads)
    needed = bytes_per_token(header)
    what = f"{bandwidth / 1e9:.1f} GB/s of DRAM reads with {num_threads} threads ÷ {needed / 1e6:.0f} MB a token"
    return Ceiling(bandwidth / needed, what)


def prefill_ceiling(header: Header) -> Ceiling:
    """Measure the float32 arithmetic and return the prompt tokens a second that it allows."""
    rate = machine.matrix_rate()
    needed = multiply_adds_per_token(header)
    what = (
        f"{rate / 1e9:.0f} GMAC/s of float32 matrix product (numpy's BLAS; 8-bit kernels may pass it) "
        f"÷ {needed / 1e9:.2f} GMAC a token"
    )
    return Ceiling(rate / needed, what)
