"""What kernels a step is made of."""

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from firesteel.backend.cuda.inputs import Inputs
    from firesteel.backend.cuda.weights import Layer, Matrix, Weights

Tensor = Any  # torch.Tensor


class Kernels(Protocol):
    """One implementation of all kernels. Rows are [rows, width]; products accumulate in float32 and return it."""

    name: str

    def product(
        self,
        x: Tensor,
        matrix: "Matrix",
        weights: "Weights",
        *,
        norm: Tensor | None = None,
        bias: Tensor | None = None,
        residual: Tensor | None = None,
        is_gated: bool = False,
    ) -> Tensor:
        """Return rows times the transposed matrix.

        Rows are normalised first with `norm`, the root mean square taken to 1. `bias` is added. `is_gated`: the
        result is silu(first half) × second half. `residual` is added last.
        """
        ...

    def routed(
        self, x: Tensor, matrix: "Matrix", chosen: Tensor, weights: "Weights", *, is_gated: bool = False
    ) -> Tensor:
        """Return rows times the transposed matrices of their experts, [pairs, columns].

        `chosen`: the expert of each pair; a row's pairs follow each other, as many for every row. `is_gated`: as in
        `product`.
        """
        ...

    def rotate_and_write(
        self, qkv: Tensor, layer: "Layer", weights: "Weights", positions: Tensor, slots: Tensor, kv: Tensor
    ) -> Tensor:
        """Normalise heads where the layer does, rotate by position, write KV to `slots`; return the queries.

        Queries are [rows, heads, head size], float32.
        """
        ...

    def attend(self, queries: Tensor, kv: Tensor, tables: Tensor, inputs: "Inputs") -> Tensor:
        """Return what each row reads at its sequence's positions up to its own, [rows, heads × head size]."""
        ...

    def best(self, x: Tensor, matrix: "Matrix", weights: "Weights", *, norm: Tensor) -> tuple[Tensor, Tensor]:
        """Return the largest logit of each row, and its token; not a finite one where the numbers are invalid."""
        ...
