"""The real default model: own kernels against llama.cpp on the same file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from firesteel.backend import open_backend
from firesteel.backend.base import Backend, Rows, Want
from firesteel.backend.llamacpp.backend import LlamaBackend
from firesteel.backend.native.backend import NativeBackend
from firesteel.config import EngineConfig

pytestmark = [pytest.mark.model, pytest.mark.timeout(900)]

# Two logits that are closer than this may change places: the bound that the other tests of the real model use for
# shapes of batches, too.
NEAR_TIE = 0.7
PERPLEXITY = 0.005  # relative
ROOT = Path(__file__).parents[2]
NUM_TOKENS = 20
TASKS = ("reverses a string", "sums a list", "finds the largest prime below n", "parses a date", "sorts a file's lines")
TONGUES = ("Python", "Rust", "C", "Go", "TypeScript", "SQL", "Bash", "Java", "Haskell", "German prose")
PROMPTS = [f"# {tongue}\n# A function that {task}:\n" for tongue in TONGUES for task in TASKS]

Logits = npt.NDArray[np.float32]


@pytest.fixture(scope="module", params=[None, "q4_0"], ids=["as it is", "q4_0"])
def both(request: pytest.FixtureRequest, model: str) -> Iterator[tuple[Backend, Backend]]:
    """The native backend and llama.cpp, each with the same file."""

    def opened(backend: Any) -> Backend:
        return open_backend(
            EngineConfig(
                backend=backend, model=model, quantize=request.param, max_live=2, context_tokens=1024, cache_bytes=0
            )
        )

    native, other = opened("auto"), opened("llamacpp")
    assert isinstance(native, NativeBackend)
    assert isinstance(other, LlamaBackend)
    yield native, other
    native.close()
    other.close()


def greedy(backend: Backend, prompt: list[int], count: int) -> list[int]:
    """The best `count` tokens; the sequence is empty before and after."""
    tokens = list(prompt)
    for _ in range(count):
        new = tokens if len(tokens) == len(prompt) else tokens[-1:]
        backend.submit([Rows(0, len(tokens) - len(new), new, Want.BEST)])
        tokens += backend.wait()[0].tokens
    backend.trim(0, 0)
    return tokens[len(prompt) :]


def logits_of(backend: Backend, tokens: list[int], wanted: int) -> Logits:
    """The logits of the last `wanted` tokens; the sequence is empty before and after."""
    known, rows = len(tokens) - wanted, []
    for start in range(0, known, 64):
        chunk = tokens[start : min(start + 64, known)]
        backend.submit([Rows(0, start, chunk, Want.NONE)])
        backend.wait()
    for start in range(known, len(tokens), 32):
        chunk = tokens[start : start + 32]
        backend.submit([Rows(0, start, chunk, Want.LOGITS, num_draft=len(chunk) - 1)])
        (output,) = backend.wait()
        rows += [row.copy() for row in output.logits]
    backend.trim(0, 0)
    return np.array(rows)


def test_greedy_text_is_that_of_llama_cpp_but_for_near_ties(both: tuple[Backend, Backend]) -> None:
    """Fifty prompts: along our own text, llama.cpp prefers the same tokens, or others by less than a near tie."""
    native, other = both
    equal, worst = 0, 0.0
    for prompt in PROMPTS:
        tokens = native.tokenizer.encode(prompt, special=False)
        chosen = greedy(native, tokens, NUM_TOKENS)
        logits = logits_of(other, tokens + chosen[:-1], NUM_TOKENS)
        lost = logits.max(axis=1) - logits[np.arange(NUM_TOKENS), chosen]
        assert lost.max() < NEAR_TIE, (prompt, other.tokenizer.label(chosen[int(lost.argmax())]))
        equal += bool(lost.max() == 0)
        worst = max(worst, float(lost.max()))
    print(f"{equal} of {len(PROMPTS)} texts are the same; the largest preference lost is {worst:.3f}")
    assert equal >= len(PROMPTS) // 2


def perplexity(backend: Backend, tokens: list[int]) -> float:
    logits = logits_of(backend, tokens, len(tokens)).astype(np.float64)[:-1]
    logits -= logits.max(axis=1, keepdims=True)
    surprise = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(tokens) - 1), tokens[1:]]
    return float(np.exp(surprise.mean()))


def test_perplexity_is_that_of_llama_cpp(both: tuple[Backend, Backend]) -> None:
    """Over 900 tokens of this project's own code and prose."""
    native, other = both
    texts = [(ROOT / name).read_text()[:2500] for name in ("src/firesteel/backend/sizes.py", "CONTRIBUTING.md")]
    tokens = [token for text in texts for token in native.tokenizer.encode(text, special=False)][:900]
    ours, theirs = perplexity(native, tokens), perplexity(other, tokens)
    print(f"perplexity over {len(tokens)} tokens: {ours:.4f}, llama.cpp {theirs:.4f}")
    assert abs(ours / theirs - 1) < PERPLEXITY


def test_the_head_reads_less_than_the_whole(both: tuple[Backend, Backend]) -> None:
    """Best tokens are found with little more than the first plane of the last matrix, and are those of its logits."""
    native, _ = both
    assert isinstance(native, NativeBackend)
    tokens = native.tokenizer.encode("".join(PROMPTS[:6]), special=False)[:40]
    logits = logits_of(native, tokens, len(tokens))
    whole = native.head_bytes_read
    shares = []
    for position, token in enumerate(tokens):
        native.submit([Rows(0, position, [token], Want.BEST)])
        assert native.wait()[0].tokens == [int(logits[position].argmax())]
        shares.append(native.head_bytes_read / whole)
    native.trim(0, 0)
    print(f"share of the head's bytes read: median {np.median(shares):.2f}, most {max(shares):.2f}")
    assert np.median(shares) < 0.7
