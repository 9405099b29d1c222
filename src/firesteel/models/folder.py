"""A model as Hugging Face's libraries keep it: a folder with config.json, *.safetensors and, beside them, a GGUF file.

Only the vocabulary and the chat template are taken from the GGUF file; one without weights will do. What the folder
says is told as the header of a GGUF file would tell it, so that everything after is the same, checks included.
"""

import json
import re
from pathlib import Path
from typing import Any

from firesteel.errors import ModelError
from firesteel.models.gguf import Header, Tensor, describe, read_header
from firesteel.types import ModelInfo

ARCHITECTURES = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "qwen3_moe": "qwen3moe"}
NUMBERS = {  # config.json → GGUF, below the architecture's name
    "max_position_embeddings": "context_length",
    "hidden_size": "embedding_length",
    "num_hidden_layers": "block_count",
    "intermediate_size": "feed_forward_length",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    "rope_theta": "rope.freq_base",
    "num_experts": "expert_count",
    "num_experts_per_tok": "expert_used_count",
    "moe_intermediate_size": "expert_feed_forward_length",
}
OUTER = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
INNER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.gate": "ffn_gate_inp",
}
LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)\.(weight|bias)")
EXPERT = re.compile(r"model\.layers\.(\d+)\.mlp\.experts\.(\d+)\.(gate|up|down)_proj\.weight")
TYPES = {"F32": (0, 4), "F16": (1, 2), "BF16": (30, 2)}  # ggml type, bytes of a weight
MOST_HEADER = 100 << 20  # bytes, as the format itself allows


def is_folder(path: Path) -> bool:
    """Return whether a path is such a folder."""
    return (path / "config.json").is_file()


def vocabulary_of(path: Path) -> Path:
    """Return the GGUF file that holds the vocabulary: of a folder the one in it, else the model itself."""
    if not path.is_dir():
        return path
    found = sorted(path.glob("*.gguf"))
    if len(found) != 1:
        raise ModelError(
            f"{path} holds {len(found)} GGUF files; put one with its vocabulary there: of the same model in any "
            "format, or made by llama.cpp's convert_hf_to_gguf.py --vocab-only"
        )
    return found[0]


def weight_files(path: Path) -> list[Path]:
    """Return the files of weights. Raises ModelError where there are none."""
    found = sorted(path.glob("*.safetensors"))
    if not found:
        raise ModelError(f"{path} holds no *.safetensors")
    return found


def describe_folder(path: Path) -> tuple[Header, ModelInfo]:
    """Return what the folder says as a GGUF header, and as `ModelInfo`; its `path` is the vocabulary's."""
    vocabulary = vocabulary_of(path)
    try:
        header = header_of(path, read_header(vocabulary))
        info = describe(header, path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from None
    return header, ModelInfo(
        **{name: getattr(info, name) for name in info.__struct_fields__} | {"path": str(vocabulary)}
    )


def header_of(path: Path, vocabulary: Header) -> Header:
    """Return the header; raises whatever a damaged file leads to."""
    tensors: dict[str, Tensor] = {}
    for file in weight_files(path):
        for name, entry in tensor_entries(file).items():
            add(tensors, name, entry)
    metadata = vocabulary.metadata | metadata_of(json.loads((path / "config.json").read_text()))
    size = sum(file.stat().st_size for file in weight_files(path))
    return Header(metadata=metadata, tensors=tuple(tensors.values()), file_bytes=size)


def tensor_entries(file: Path) -> dict[str, dict[str, Any]]:
    """Return what a safetensors file says of its tensors."""
    with file.open("rb") as opened:
        size = int.from_bytes(opened.read(8), "little")
        if not 2 <= size <= min(MOST_HEADER, file.stat().st_size):
            raise ValueError(f"{file.name} announces a header of {size} bytes")
        entries = json.loads(opened.read(size))
    return {name: entry for name, entry in entries.items() if name != "__metadata__"}


def add(tensors: dict[str, Tensor], name: str, entry: dict[str, Any]) -> None:
    """Add a tensor under GGUF's name, dimensions and type; experts of a layer become one."""
    if entry["dtype"] not in TYPES:
        raise ValueError(f"tensor {name} is of type {entry['dtype']}; {', '.join(TYPES)} are known")
    kind, each = TYPES[entry["dtype"]]
    dimensions = tuple(int(size) for size in reversed(entry["shape"]))
    expert = EXPERT.fullmatch(name)
    if expert is not None:
        known = f"blk.{expert[1]}.ffn_{expert[3]}_exps.weight"
        dimensions = (*dimensions, max(int(expert[2]) + 1, tensors[known].dimensions[2] if known in tensors else 0))
    else:
        known = gguf_name(name)
    if len(dimensions) == 1:
        kind, each = 0, 4  # vectors are read as floats, whatever they are
    size = each
    for dimension in dimensions:
        size *= dimension
    tensors[known] = Tensor(known, dimensions, kind, 0, size)


def gguf_name(name: str) -> str:
    """Return GGUF's name of a tensor; an unknown one stays, and is refused later."""
    layer = LAYER.fullmatch(name)
    if layer is None or layer[2] not in INNER:
        return OUTER.get(name, name)
    return f"blk.{layer[1]}.{INNER[layer[2]]}.{layer[3]}"


def metadata_of(config: dict[str, Any]) -> dict[str, int | float | str]:
    """Return config.json as GGUF's metadata; what changes the arithmetic becomes a key that is refused later."""
    name = config.get("model_type")
    if name not in ARCHITECTURES:
        raise ValueError(f"its model_type {name} is not among {', '.join(ARCHITECTURES)}")
    if not config.get("norm_topk_prob", True):
        raise ValueError("its norm_topk_prob is false, which is not known here")
    architecture = ARCHITECTURES[name]
    found: dict[str, int | float | str] = {"general.architecture": architecture}
    rope = config.get("rope_parameters") or {}
    config = {"rope_theta": rope.get("rope_theta", 10_000.0)} | config
    for key, known in NUMBERS.items():
        if isinstance(config.get(key), int | float):
            found[f"{architecture}.{known}"] = config[key]
    scaling = config.get("rope_scaling") or rope
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind != "default":
        found[f"{architecture}.rope.scaling.type"] = str(kind)
    if config.get("use_sliding_window"):
        found[f"{architecture}.attention.sliding_window"] = int(config.get("sliding_window") or 1)
    return found
