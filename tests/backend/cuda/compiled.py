"""Compiles every kernel for a Hopper GPU, which needs none, and prints a line of JSON for each.

A process of its own, since Triton decides once whether it interprets: python -m tests.backend.cuda.compiled
"""

import json
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from firesteel.backend.cuda.inputs import TILE
from firesteel.backend.cuda.kernels import attend, product, rotate, routed
from firesteel.backend.cuda.kernels.product import FEW, TYPES
from firesteel.backend.cuda.pages import PAGE

HOPPER = GPUTarget("cuda", 90, 32)
FLOATS: tuple[str, ...] = (
    "x",
    "scale",
    "norm",
    "bias",
    "residual",
    "out",
    "best_value",
    "qkv",
    "query_norm",
    "key_norm",
    "frequencies",
)
FLOATS += ("queries", "sums", "limits")
TYPES_OF = dict.fromkeys(FLOATS, "*fp32") | {"w": "*bf16", "best_token": "*i64", "positions": "*i64", "slots": "*i64"}
TYPES_OF |= {"chosen": "*i64"}
TYPES_OF |= {"kv": "*fp16", "tables": "*i32", "sequences": "*i64", "tiles": "*i32", "epsilon": "fp32"}
HEADS = {"qwen2.5-0.5b": (14, 2, 64), "qwen3-moe": (32, 4, 128)}


def compiled(kernel: Any, constants: dict[str, Any], **types: str) -> dict[str, Any]:
    """Compile a kernel; numbers that are not among `constants` are 32-bit integers unless `types` says otherwise."""
    names = [name for name in kernel.arg_names if name not in constants]
    signature = {name: types.get(name, TYPES_OF.get(name, "i32")) for name in names}
    signature |= dict.fromkeys(constants, "constexpr")
    found = triton.compile(ASTSource(kernel, signature=signature, constexprs=constants), target=HOPPER)
    return {"shared": found.metadata.shared, "bytes": len(found.asm["cubin"])}


def products() -> Any:
    """Yield a name and a compiled product for each number of rows and form that a step uses."""
    forms = {"qkv": {"HAS_NORM", "HAS_BIAS"}, "gate-up": {"HAS_NORM", "IS_GATED"}, "down": {"HAS_RESIDUAL"}}
    forms |= {"head": {"HAS_NORM", "IS_BEST"}}
    flags = ("HAS_SCALE", "HAS_NORM", "HAS_BIAS", "HAS_RESIDUAL", "IS_GATED", "IS_BEST")
    for weights in ("*bf16", "*i8", "*fp8e4nv"):
        for rows in (1, 2, 4, 8, 64) if weights == "*bf16" else (1, 64):
            for form, on in forms.items():
                block_n, block_k = product.blocks(rows, 151_936 if form == "head" else 896)
                constants: dict[str, Any] = {
                    flag: flag in on or (flag == "HAS_SCALE" and weights != "*bf16") for flag in flags
                }
                constants |= {"ROWS": rows if rows <= FEW else max(16, rows), "FEW_ROWS": FEW}
                constants |= {"BLOCK_N": block_n, "BLOCK_K": block_k, "TYPE": TYPES[torch.bfloat16]}
                yield f"product {form} {rows} {weights}", compiled(product.product_kernel, constants, w=weights)


def mixtures() -> Any:
    """Yield the kernel of experts, at the sizes of Qwen3-30B-A3B, for each form of weights."""
    for weights in ("*bf16", "*i8", "*fp8e4nv"):
        for is_gated in (True, False):
            block_n, block_k = product.blocks(1, 768 if is_gated else 2048)
            constants: dict[str, Any] = {"BLOCK_N": block_n, "BLOCK_K": block_k, "IS_GATED": is_gated}
            constants |= {"HAS_SCALE": weights != "*bf16", "TYPE": TYPES[torch.bfloat16]}
            yield f"routed {is_gated} {weights}", compiled(routed.routed_kernel, constants, w=weights)


def others() -> Any:
    """Yield the other kernels at the sizes of two models."""
    for name, (heads, kv_heads, size) in HEADS.items():
        sizes = {"HEADS": heads, "KV_HEADS": kv_heads, "SIZE": size, "BLOCK": size // 2, "NORMS": name == "qwen3-moe"}
        yield f"rotate {name}", compiled(rotate.rotate_kernel, sizes)
        for rows in (1, TILE):
            group = heads // kv_heads
            sizes = {"GROUP": group, "KV_HEADS": kv_heads, "SIZE": size, "BLOCK": size, "SPLITS": 32}
            sizes["ROWS"] = max(16, triton.next_power_of_2(rows * group))
            yield f"attend {name} {rows}", compiled(attend.attend_kernel, sizes | {"PAGE_SIZE": PAGE}, scale="fp32")
            yield f"join {name} {rows}", compiled(attend.join_kernel, sizes)


if __name__ == "__main__":
    for each in (products, mixtures, others):
        for name, found in each():
            print(json.dumps({"kernel": name} | found), flush=True)
