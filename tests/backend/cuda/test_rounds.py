"""Several tokens a step, drafted on the device or not: the same text as one by one."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firesteel.backend.base import Rows, Want, uniform
from firesteel.backend.cuda.backend import CudaBackend
from firesteel.backend.cuda.rounds import MOST_TOKENS, power_of_two, rows_for
from firesteel.engine.sample import Sampler
from firesteel.errors import EngineFailure
from firesteel.types import Sampling
from tests.backend.cuda.running import SMALL, close_to, computed, empty, few, open_cuda
from tests.backend.cuda.test_cuda_laws import with_a_bad_token
from tests.backend.native.models import TOKENS, compute, model

NUM = 40
SAMPLED = Sampling(temperature=0.8, top_p=0.9, seed=5)
FREE = Sampling(temperature=0.8, top_p=1.0, min_p=0.01, seed=5)
SHORT = Sampling(temperature=0.8, top_k=9, top_p=0.9, seed=5)


def one_by_one(
    backend: CudaBackend, prompt: list[int], sampling: Sampling | None = None, count: int = NUM
) -> list[int]:
    """What is said when each token is a step of its own and the host chooses."""
    tokens, sampler = list(prompt), Sampler(sampling or Sampling(temperature=0.0))
    backend.trim(3, 0)
    logits = compute(backend, 3, tokens)
    while True:
        tokens.append(sampler.choose(logits, len(tokens)))
        if len(tokens) == len(prompt) + count:
            backend.trim(3, 0)
            return tokens[len(prompt) :]
        logits = compute(backend, 3, tokens[-1:], len(tokens) - 1)


def streamed(
    backend: CudaBackend,
    prompts: list[list[int]],
    limits: list[int],
    samplings: list[Sampling | None],
    count: int = NUM,
) -> tuple[list[list[int]], int]:
    """What several sequences say in steps of several tokens, and in how many steps."""
    tokens = [list(prompt) for prompt in prompts]
    for sequence, prompt in enumerate(prompts):
        if len(prompt) > 1:
            backend.submit([Rows(sequence, 0, prompt[:-1], Want.NONE)])
            backend.wait()
    num_steps = 0
    while True:
        live = [one for one in range(len(prompts)) if len(tokens[one]) < len(prompts[one]) + count]
        if not live:
            return [known[len(prompt) :] for known, prompt in zip(tokens, prompts, strict=True)], num_steps
        batch = []
        for one in live:
            limit = min(limits[one], len(prompts[one]) + count - len(tokens[one]))
            rows = Rows(one, len(tokens[one]) - 1, tokens[one][-1:], Want.BEST, limit)
            sampling = samplings[one]
            if sampling is not None:
                rows.sampling, rows.seed = sampling, sampling.seed or 0
            batch.append(rows)
        backend.submit(batch)
        for one, output, rows in zip(live, backend.wait(), batch, strict=True):
            assert 1 <= len(output.tokens) <= rows.limit
            tokens[one] += output.tokens
        num_steps += 1


@few
@given(
    starts=st.lists(st.integers(0, 300), min_size=1, max_size=3),
    limits=st.lists(st.sampled_from([1, 2, 3, 7, 64]), min_size=3, max_size=3),
    expectation=st.sampled_from(["nothing", "the answer", "an edit of it", "noise"]),
    sampled=st.sampled_from([(), (0,), (0, 1, 2)]),
    sampling=st.sampled_from([SAMPLED, FREE, SHORT]),
)
def test_text_is_that_of_single_tokens(
    backend: CudaBackend,
    starts: list[int],
    limits: list[int],
    expectation: str,
    sampled: tuple[int, ...],
    sampling: Sampling,
) -> None:
    empty(backend)
    prompts = [TOKENS[start : start + 5 + start % 70] for start in starts]
    samplings = [sampling if one in sampled else None for one in range(len(starts))]
    expected = [one_by_one(backend, prompt, sampling) for prompt, sampling in zip(prompts, samplings, strict=True)]
    empty(backend)
    for one, answer in enumerate(expected):
        texts = {"nothing": [], "the answer": answer, "noise": TOKENS[50:90]}
        backend.expect(one, texts.get(expectation, [*answer[:9], 1, 2, *answer[12:]]), len(prompts[one]))
    found, _ = streamed(backend, prompts, limits, samplings)
    assert found == expected
    for one, prompt in enumerate(prompts):  # and KV of what was said is right
        known = prompt + found[one]
        backend.trim(one, len(known) - 5)
        assert close_to(compute(backend, one, known[-5:], len(known) - 5), computed(backend, known))


def test_what_is_expected_comes_many_tokens_a_step(backend: CudaBackend) -> None:
    prompt = TOKENS[:20]
    expected = one_by_one(backend, prompt, count=120)
    empty(backend)
    backend.expect(0, expected, len(prompt))
    found, num_steps = streamed(backend, [prompt], [MOST_TOKENS], [None], count=120)
    assert found == [expected]
    assert num_steps <= 5


def test_a_rewind_loses_no_place(backend: CudaBackend) -> None:
    """What was rewound is said again, still in few steps, and then what follows."""
    prompt = TOKENS[:20]
    expected = one_by_one(backend, prompt, count=64)
    empty(backend)
    backend.expect(0, expected, len(prompt))
    streamed(backend, [prompt], [8], [None], count=33)
    backend.trim(0, len(prompt) + 10)
    tokens, num_steps = prompt + expected[:11], 0
    while len(tokens) < len(prompt) + 64:
        limit = min(MOST_TOKENS, len(prompt) + 64 - len(tokens))
        backend.submit([Rows(0, len(tokens) - 1, tokens[-1:], Want.BEST, limit)])
        tokens += backend.wait()[0].tokens
        num_steps += 1
    assert tokens[len(prompt) :] == expected
    assert num_steps <= 4


def test_without_drafters_nothing_is_guessed(folder: Path) -> None:
    backend = open_cuda(model(folder, "qwen2", "f16", sizes=SMALL), drafters=())
    assert not backend.capabilities.can_draft
    expected = one_by_one(backend, TOKENS[:20], count=24)
    empty(backend)
    assert streamed(backend, [TOKENS[:20]], [64], [None], count=24) == ([expected], 6)  # four tokens a launch
    backend.close()


def test_invalid_numbers_end_the_step(tmp_path: Path) -> None:
    backend = open_cuda(with_a_bad_token(tmp_path, 200))
    backend.submit([Rows(0, 0, [200], Want.BEST, 8)])
    with pytest.raises(EngineFailure, match="invalid numbers"):
        backend.wait()
    backend.trim(0, 0)
    assert np.isfinite(compute(backend, 0, [1])).all()
    backend.close()


def test_a_context_that_is_nearly_full_goes_on_token_by_token(folder: Path) -> None:
    backend = open_cuda(model(folder, "llama", "f16", sizes=SMALL), context_tokens=128, max_live=1, chunk_tokens=128)
    compute(backend, 0, TOKENS[:120])
    for position in range(120, 128):
        backend.submit([Rows(0, position, [7], Want.BEST, 64)])
        (output,) = backend.wait()
        backend.trim(0, position + 1)
        assert output.tokens
    backend.close()


@pytest.mark.parametrize("sampling", [SAMPLED, FREE, SHORT])
def test_sampled_rows_of_a_plain_step_are_drawn_on_the_device(backend: CudaBackend, sampling: Sampling) -> None:
    """Beside greedy ones, and beside ones whose logits the host wants."""
    tokens = TOKENS[:30]
    logits = compute(backend, 0, tokens)
    expected = Sampler(sampling).choose(logits.copy(), 30)
    backend.trim(0, 29)
    compute(backend, 1, tokens[:10])
    drawn = Rows(0, 29, tokens[29:], Want.BEST, sampling=sampling, seed=5)
    for other in (Rows(1, 10, [3], Want.BEST), Rows(1, 10, [3], Want.LOGITS)):
        backend.submit([drawn, other])
        outputs = backend.wait()
        assert outputs[0].tokens == [expected]
        assert outputs[1].tokens or len(outputs[1].logits) == 1
        backend.trim(0, 29)
        backend.trim(1, 10)
    assert 0 <= uniform(5, 30) < 1


def test_lanes_share_the_rows_of_a_graph() -> None:
    assert [rows_for(lanes, 16) for lanes in (1, 2, 4, 5, 16, 64)] == [16, 16, 16, 8, 4, 1]
    assert [power_of_two(number) for number in (1, 2, 3, 64, 65)] == [1, 2, 4, 64, 128]
