"""CUDA graphs: what a step launches is recorded once for each shape and then launched as one."""

from collections.abc import Callable, Hashable
from typing import Any

import torch

Tensors = Any  # a tensor, or a tuple of them
WARM_UP = 2  # runs before recording, in which Triton compiles and cuBLAS makes its workspaces


class Graphs:
    """Runs functions of tensors at fixed addresses: recorded on a GPU, plainly on a processor."""

    def __init__(self, device: Any) -> None:
        self._device = device
        self._recorded: dict[Hashable, tuple[Any, Tensors]] = {}
        self._pool: Any = None  # memory that all graphs share: they never run at the same time

    def run(self, key: Hashable, function: Callable[[], Tensors]) -> Tensors:
        """Return what `function` returns; tensors are valid until the next run.

        `key` says everything that `function` depends on beside the contents of its tensors. It must do nothing on
        the host in between. Recording runs it some times: where that would change something, `record` it before.
        """
        if self._device.type != "cuda":
            return function()
        self.record(key, function)
        graph, outputs = self._recorded[key]
        graph.replay()
        return outputs

    def record(self, key: Hashable, function: Callable[[], Tensors]) -> None:
        """Record `function` for `run`, unless that was done. It runs some times; a processor records nothing."""
        if self._device.type == "cuda" and key not in self._recorded:
            self._recorded[key] = self._record(function)

    def _record(self, function: Callable[[], Tensors]) -> tuple[Any, Tensors]:
        stream = torch.cuda.Stream(self._device)
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                function()
        torch.cuda.current_stream(self._device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            outputs = function()
        self._pool = graph.pool()
        return graph, outputs

    def close(self) -> None:
        """Free all graphs and what they hold."""
        self._recorded.clear()
        self._pool = None
