"""The tensors of a folder of safetensors as floats."""

from pathlib import Path
from typing import Any

import torch

from firesteel.backend.cuda.weights import Read
from firesteel.backend.native.description import LAYER_NAMES, OUTER_NAMES, Role
from firesteel.errors import ConfigError
from firesteel.models.folder import EXPERT, gguf_name, tensor_entries, weight_files

PARTS = {Role.EXPERT_GATE: "gate", Role.EXPERT_UP: "up", Role.EXPERT_DOWN: "down"}
LAYERED = {role: name for name, role in LAYER_NAMES.items()}
OUTER = {role: name for name, role in OUTER_NAMES.items()}


def open_folder(path: Path) -> Read:
    """Return a `Read` of the folder's tensors; each is read when it is asked for. Raises ConfigError."""
    try:
        from safetensors import safe_open
    except ImportError:
        raise ConfigError("a folder of safetensors needs: pip install 'firesteel[gpu]'") from None
    places: dict[str, tuple[Any, str]] = {}
    experts: dict[str, dict[int, str]] = {}
    for file in weight_files(path):
        opened = safe_open(str(file), framework="pt")
        for name in tensor_entries(file):
            match = EXPERT.fullmatch(name)
            known = gguf_name(name) if match is None else f"{match[1]}.{match[3]}.{match[2]}"
            places[known] = (opened, name)
            if match is not None:
                experts.setdefault(f"{match[1]}.{match[3]}", {})[int(match[2])] = known

    def tensor(known: str) -> Any:
        opened, name = places[known]
        return opened.get_tensor(name).float()

    def read(role: Role, layer: int) -> Any:
        if role in PARTS:
            several = experts.get(f"{layer}.{PARTS[role]}")
            return None if several is None else torch.stack([tensor(several[index]) for index in sorted(several)])
        known = OUTER[role] if role in OUTER else f"blk.{layer}.{LAYERED[role]}"
        return tensor(known) if known in places else None

    return read
