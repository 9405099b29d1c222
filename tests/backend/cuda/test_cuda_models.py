"""Whole models against llama.cpp on the same file: tiny random ones of every architecture."""

from pathlib import Path

import pytest

from firesteel.backend.base import Backend, Rows, Want
from tests.backend.cuda.running import open_cuda
from tests.backend.native.models import ARCHITECTURES, TOKENS, all_logits, model, open_model
from tests.backend.native.oracle import Floats
from tests.backend.native.test_models import row_errors
from tests.backend.tiny_models import STANDARD, Sizes

# Root mean square difference of a row's logits, as a share of their spread. Here weights are exact and activations are
# floats; llama.cpp rounds activations to 8 bits beside quantised weights, to bfloat16 beside such. Measured in the
# worst row: 0.0010 (f32), 0.0018 (f16), 0.030 (q8_0), 0.044 (q4_K).
BOUND = {"f32": 0.003, "f16": 0.004, "bf16": 0.02, "q4_K": 0.08, "q6_K": 0.08}
OTHER_BOUND = 0.05
EXPERTS = STANDARD._replace(experts_used=8)  # all: an undecided router sends a row elsewhere when weights are rounded


def both(path: Path, backend: Backend) -> tuple[Floats, Floats]:
    other = open_model(path, "llamacpp")
    found = all_logits(backend, TOKENS[:32]), all_logits(other, TOKENS[:32])
    other.close()
    backend.close()
    return found


def assert_agree(found: Floats, expected: Floats, bound: float) -> None:
    assert row_errors(found, expected).max() <= bound
    for ours, theirs in zip(found, expected, strict=True):
        assert theirs.max() - theirs[ours.argmax()] <= 8 * bound * theirs.std()


@pytest.mark.parametrize("name", ["f32", "f16", "bf16", "q8_0", "q4_0", "q5_1", "q4_K", "q6_K"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_logits_are_those_of_llama_cpp(folder: Path, architecture: str, name: str) -> None:
    path = model(folder, architecture, name, sizes=EXPERTS)
    assert_agree(*both(path, open_cuda(path)), BOUND.get(name, OTHER_BOUND))


@pytest.mark.parametrize("used", [1, 2])
def test_rows_go_to_the_experts_that_llama_cpp_sends_them_to(folder: Path, used: int) -> None:
    path = model(folder, "qwen3moe", "f32", sizes=Sizes(inner=256, experts_used=used))
    assert_agree(*both(path, open_cuda(path)), BOUND["f32"])


def test_a_tied_head(folder: Path) -> None:
    path = model(folder, "qwen2", "f16", sizes=Sizes(is_tied=True))
    assert_agree(*both(path, open_cuda(path)), BOUND["f16"])


@pytest.mark.parametrize(("weights", "bound"), [("int8", 0.06), ("fp8", 0.2)])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_eight_bit_weights_are_near(folder: Path, architecture: str, weights: str, bound: float) -> None:
    """Measured: int8 0.026 to 0.044, fp8 0.10 to 0.15, of random weights in rows of 256."""
    path = model(folder, architecture, "f32", sizes=EXPERTS)
    exact, rounded = open_cuda(path), open_cuda(path, weights=weights)
    errors = row_errors(all_logits(rounded, TOKENS[:32]), all_logits(exact, TOKENS[:32]))
    exact.close()
    rounded.close()
    assert 0 < errors.max() <= bound


def greedy(backend: Backend, prompt: list[int], count: int) -> list[int]:
    tokens = list(prompt)
    while len(tokens) < len(prompt) + count:
        new = tokens if len(tokens) == len(prompt) else tokens[-1:]
        backend.submit([Rows(0, len(tokens) - len(new), new, Want.BEST)])
        tokens += backend.wait()[0].tokens
    backend.trim(0, 0)
    return tokens[len(prompt) :]


def is_tie(logits: Floats, one: int, other: int, bound: float) -> bool:
    """Whether the two are as near as the backends' logits."""
    return bool(abs(logits[one] - logits[other]) <= 8 * bound * logits.std())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_greedy_text_is_that_of_llama_cpp_but_for_ties(folder: Path, architecture: str) -> None:
    path = model(folder, architecture, "f16", sizes=EXPERTS)
    ours, other = open_cuda(path), open_model(path, "llamacpp")
    num_equal = 0
    for start in range(6):
        prompt = TOKENS[start * 7 : start * 7 + 6 + start]
        found, expected = greedy(ours, prompt, 16), greedy(other, prompt, 16)
        apart = next((at for at in range(16) if found[at] != expected[at]), None)
        num_equal += apart is None
        if apart is not None:
            logits = all_logits(other, prompt + expected[:apart])[-1]
            assert is_tie(logits, found[apart], expected[apart], BOUND["f16"])
    ours.close()
    other.close()
    assert num_equal >= 4
