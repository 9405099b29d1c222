"""Kernels: each in Triton beside a twin in plain PyTorch, which says what it computes."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from firesteel.backend.cuda.kernels.base import Kernels


def select(device: Any) -> "Kernels":
    """Return the kernels that a step of few rows runs on: Triton's on a GPU, plain ones elsewhere."""
    if device.type == "cuda":
        from firesteel.backend.cuda.kernels.fused import TritonKernels

        return TritonKernels()
    from firesteel.backend.cuda.kernels.plain import PlainKernels

    return PlainKernels()
