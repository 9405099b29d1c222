"""Triton's kernels, run by its interpreter on a processor, against their twins in plain PyTorch.

The interpreter computes what the kernel says; that it compiles for a GPU is tested, what then runs is not. Its
products of bfloat16 tiles are wrong (Triton 3.7.1), so that float16 and float32 stand for it.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from firesteel.backend.base import Rows, Want
from firesteel.backend.cuda.cache import KV_TYPE
from firesteel.backend.cuda.inputs import fill, make
from firesteel.backend.cuda.kernels import attend
from firesteel.backend.cuda.kernels.fused import TritonKernels
from firesteel.backend.cuda.kernels.plain import PlainKernels
from firesteel.backend.cuda.pages import PAGE
from firesteel.backend.cuda.weights import Layer, Matrix, Weights, quantized
from firesteel.backend.native.description import Shape
from tests.backend.cuda.running import SMALL, close_to, few, open_cuda
from tests.backend.native.models import ARCHITECTURES, TOKENS, all_logits, model


@pytest.fixture(autouse=True, scope="module")
def few_programs() -> Iterator[None]:
    """The interpreter runs programs one by one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attend, "PROGRAMS", 8)
        yield


TRITON, PLAIN = TritonKernels(), PlainKernels()
TOLERANCE = {torch.float32: 2e-5, torch.float16: 4e-3}  # of the largest value; rows are summed in another order


def shape_of(**sizes: Any) -> Shape:
    found = {"layers": 1, "embedding": 64, "heads": 4, "kv_heads": 2, "head_size": 32, "feed_forward": 96}
    found |= {"vocabulary": 258, "experts": 0, "experts_used": 0} | sizes
    return Shape(**found, interleaved=False, epsilon=1e-5, rope_base=10_000.0)


def weights_of(shape: Shape, dtype: Any) -> Weights:
    frequencies = 10_000.0 ** (-torch.arange(shape.head_size // 2) * 2 / shape.head_size)
    empty = torch.zeros(0)
    return Weights(shape, dtype, empty, (), empty, Matrix(empty), frequencies.float())


def random(*sizes: int, seed: int = 0) -> Any:
    return torch.randn(sizes, generator=torch.Generator().manual_seed(seed))


def near(found: Any, expected: Any, dtype: Any = torch.float32) -> bool:
    return bool((found - expected).abs().max() <= TOLERANCE[dtype] * expected.abs().max())


def options(rows: int, columns: int, size: int, which: set[str]) -> dict[str, Any]:
    """The optional parts of a product."""
    found: dict[str, Any] = {"is_gated": "gated" in which}
    found |= {"norm": random(size, seed=3) + 1} if "norm" in which else {}
    found |= {"bias": random(columns, seed=4)} if "bias" in which and "gated" not in which else {}
    return found | ({"residual": random(rows, columns, seed=5)} if "residual" in which else {})


@few
@given(
    rows=st.sampled_from([1, 2, 3, 4, 5, 8, 16, 17]),
    columns=st.integers(1, 70),
    size=st.sampled_from([32, 96, 160]),
    which=st.sets(st.sampled_from(["norm", "bias", "residual", "gated"])),
    form=st.sampled_from(["f32", "f16", "int8"]),
)
def test_products(rows: int, columns: int, size: int, which: set[str], form: str) -> None:
    dtype = torch.float16 if form == "f16" else torch.float32
    values = random(columns * (2 if "gated" in which else 1), size, seed=1) / size**0.5
    matrix = quantized(values, "int8") if form == "int8" else Matrix(values.to(dtype))
    weights, x, chosen = weights_of(shape_of(), dtype), random(rows, size, seed=2), options(rows, columns, size, which)
    found, expected = (kernels.product(x, matrix, weights, **chosen) for kernels in (TRITON, PLAIN))
    assert found.shape == expected.shape == (rows, columns)
    assert near(found, expected, dtype)


@few
@given(
    rows=st.integers(1, 5),
    used=st.integers(1, 3),
    columns=st.integers(1, 40),
    size=st.sampled_from([32, 96, 600]),
    is_gated=st.booleans(),
    form=st.sampled_from(["f32", "f16", "int8", "fp8"]),
)
def test_experts(rows: int, used: int, columns: int, size: int, is_gated: bool, form: Any) -> None:
    dtype = torch.float16 if form == "f16" else torch.float32
    values = random(4, columns * (2 if is_gated else 1), size, seed=1) / size**0.5
    matrix = quantized(values, form) if form in ("int8", "fp8") else Matrix(values.to(dtype))
    weights, x = weights_of(shape_of(), dtype), random(rows, size, seed=2)
    chosen = torch.randint(4, (rows * used,), generator=torch.Generator().manual_seed(3))
    found, expected = (one.routed(x, matrix, chosen, weights, is_gated=is_gated) for one in (TRITON, PLAIN))
    assert found.shape == expected.shape == (rows * used, columns)
    assert near(found, expected, dtype)


def test_products_with_eight_bit_floats() -> None:
    matrix, weights = quantized(random(40, 64, seed=1), "fp8"), weights_of(shape_of(), torch.float32)
    x = random(3, 64, seed=2)
    assert near(TRITON.product(x, matrix, weights), PLAIN.product(x, matrix, weights))


@pytest.mark.parametrize("rows", [1, 4, 6])
def test_the_best_token(rows: int) -> None:
    weights, norm, x = weights_of(shape_of(), torch.float32), torch.ones(64), random(rows, 64, seed=2)
    matrix = Matrix(random(101, 64, seed=1))
    values, tokens = TRITON.best(x, matrix, weights, norm=norm)
    expected_values, expected = PLAIN.best(x, matrix, weights, norm=norm)
    assert torch.equal(tokens, expected)
    assert near(values, expected_values)


def test_of_equal_tokens_the_first_is_best() -> None:
    weights, matrix = weights_of(shape_of(), torch.float32), Matrix(torch.ones(60, 64))
    _, tokens = TRITON.best(torch.ones(2, 64), matrix, weights, norm=torch.ones(64))
    assert tokens.tolist() == [0, 0]


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # numpy, in the interpreter
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_the_best_token_of_invalid_numbers_is_not_finite(number: float) -> None:
    weights, x = weights_of(shape_of(), torch.float32), random(2, 64)
    x[1, 5] = number
    values, _ = TRITON.best(x, Matrix(random(50, 64, seed=1)), weights, norm=torch.ones(64))
    assert torch.isfinite(values).tolist() == [True, False]


@pytest.mark.parametrize("has_norms", [False, True])
@pytest.mark.parametrize("size", [32, 96, 128])
def test_rotation_and_writing(size: int, has_norms: bool) -> None:
    shape = shape_of(head_size=size)
    weights, positions = weights_of(shape, torch.float32), torch.tensor([0, 1, 77, 131_071])
    slots = torch.tensor([5, 64, 130, 7])
    query_norm, key_norm = ((random(size, seed=seed) + 1) if has_norms else None for seed in (8, 9))
    none = Matrix(torch.zeros(0))
    layer = Layer(torch.zeros(0), none, None, query_norm, key_norm, none, torch.zeros(0), None, None, None)
    qkv, written, queries = random(4, 8 * size), [], []
    for kernels in (TRITON, PLAIN):
        kv = torch.zeros((2, 3, PAGE, 2, size), dtype=KV_TYPE)
        queries.append(kernels.rotate_and_write(qkv, layer, weights, positions, slots, kv))
        written.append(kv)
    assert near(*queries)
    assert (written[0] - written[1]).abs().max() <= 2 * torch.finfo(KV_TYPE).eps * written[1].abs().max()
    assert int((written[0] != 0).any(-1).sum()) == 4 * 2 * 2  # rows, heads, keys and values; nothing elsewhere


@few
@given(
    lengths=st.lists(st.integers(1, 3 * PAGE), min_size=1, max_size=3),
    counts=st.lists(st.integers(1, 11), min_size=3, max_size=3),
    heads=st.sampled_from([(4, 2), (7, 1), (2, 2)]),
    size=st.sampled_from([32, 96]),
)
def test_attention(lengths: list[int], counts: list[int], heads: tuple[int, int], size: int) -> None:
    """Of several sequences in one batch, some in several tiles, in pages of any order that others left dirty."""
    num_heads, kv_heads = heads
    pages = np.random.default_rng(1).permutation(np.arange(1, 1 + 4 * len(lengths)))
    tables = torch.zeros((len(lengths) + 1, 5), dtype=torch.int32)
    batch, num_rows = [], 0
    for sequence, length in enumerate(lengths):
        tables[sequence, :4] = torch.from_numpy(pages[4 * sequence : 4 * sequence + 4])
        count = min(counts[sequence], length)
        batch.append(Rows(sequence, length - count, [1] * count, Want.BEST))
        num_rows += count
    inputs = make(num_rows + 2, len(lengths), "cpu")
    fill(inputs, batch, len(lengths))
    kv = random(2, 1 + 4 * len(lengths), PAGE, kv_heads, size).to(KV_TYPE)
    for sequence, length in enumerate(lengths):  # what lies behind the end are no numbers
        last = int(tables[sequence, (length - 1) // PAGE])
        kv[:, last, (length - 1) % PAGE + 1 :] = float("nan")
    queries = random(num_rows + 2, num_heads, size, seed=4)
    found, expected = (kernels.attend(queries, kv, tables, inputs)[:num_rows] for kernels in (TRITON, PLAIN))
    assert (found - expected).abs().max() <= 4e-3


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_whole_model(folder: Path, architecture: str) -> None:
    """Steps of few rows on Triton's kernels are those on plain ones."""
    backend = open_cuda(model(folder, architecture, "f16", sizes=SMALL))
    expected = all_logits(backend, TOKENS[:12])
    backend._steps.kernels = TRITON
    found = all_logits(backend, TOKENS[:12])
    backend.close()
    assert close_to(found, expected)


def test_every_kernel_compiles_for_a_hopper_gpu(tmp_path: Path) -> None:
    """At the sizes of real models, within the shared memory of a block. Needs no GPU; it says nothing of speed."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "tests.backend.cuda.compiled"]
    environment |= {"TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) > 40
    assert all(one["bytes"] > 0 and one["shared"] <= 227 * 1024 for one in found)
