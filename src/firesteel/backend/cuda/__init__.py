"""Models on a GPU: PyTorch and Triton behind the engine's `Backend`. torch is imported when one is opened."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from firesteel.backend.base import Backend
    from firesteel.backend.blueprint import Blueprint
    from firesteel.backend.native.description import Description
    from firesteel.config import EngineConfig


def open_cuda(blueprint: "Blueprint", description: "Description", config: "EngineConfig") -> "Backend":
    """Load the model to the GPU. Raises ConfigError, with the way out, where there is none; ModelError."""
    from firesteel.backend.cuda.device import open_device

    device = open_device()  # first: without torch, nothing else can be imported
    from firesteel.backend.cuda.backend import CudaBackend

    return CudaBackend(blueprint, description, config, device)
