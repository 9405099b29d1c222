"""Laws of the CUDA backend: but for rounding, nothing but the sequence matters."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firesteel.backend.base import Rows, Want
from firesteel.backend.cuda.backend import CudaBackend
from firesteel.errors import EngineFailure, ModelError
from tests.backend import tiny_models
from tests.backend.cuda.running import SMALL, close_to, computed, empty, few, next_logits, open_cuda, run
from tests.backend.native.models import TOKENS, compute, in_format, model
from tests.backend.native.oracle import Floats


@few
@given(length=st.integers(1, 300), chunk=st.integers(1, 200))
def test_chunks_do_not_matter(backend: CudaBackend, length: int, chunk: int) -> None:
    empty(backend)
    whole = compute(backend, 0, TOKENS[:length])
    assert close_to(compute(backend, 1, TOKENS[:length], chunk=chunk), whole)


@few
@given(length=st.integers(2, 17), known=st.integers(0, 130))
def test_rows_of_a_draft_are_rows(backend: CudaBackend, length: int, known: int) -> None:
    empty(backend)
    if known:
        compute(backend, 0, TOKENS[:known])
        backend.fork(0, 1, known)
    tokens = TOKENS[known : known + length]
    (drafted,) = run(backend, Rows(0, known, tokens, Want.LOGITS, num_draft=length - 1))
    alone = [compute(backend, 1, [token], known + i) for i, token in enumerate(tokens)]
    assert close_to(np.array(drafted), np.array(alone))


@few
@given(before=st.lists(st.integers(0, 150), min_size=3, max_size=3), counts=st.lists(st.integers(1, 40), min_size=3))
def test_others_in_the_batch_do_not_matter(backend: CudaBackend, before: list[int], counts: list[int]) -> None:
    empty(backend)
    tokens = [TOKENS[one * 31 :][: before[one] + counts[one]] for one in range(3)]
    alone = [computed(backend, each) for each in tokens]
    backend.trim(3, 0)
    for one in range(3):
        if before[one]:
            compute(backend, one, tokens[one][: before[one]])
    outputs = run(backend, *(Rows(one, before[one], tokens[one][before[one] :], Want.LOGITS) for one in (2, 0, 1)))
    for one, output in zip((2, 0, 1), outputs, strict=True):
        assert close_to(output[0], alone[one])


@few
@given(length=st.integers(1, 200), to=st.integers(0, 200))
def test_what_is_trimmed_was_never_there(backend: CudaBackend, length: int, to: int) -> None:
    empty(backend)
    compute(backend, 0, TOKENS[:length])
    to = min(to, length)
    backend.trim(0, to)
    foreign = TOKENS[400:450]
    assert close_to(compute(backend, 0, foreign, to), computed(backend, TOKENS[:to] + foreign))


@few
@given(at=st.integers(1, 200), writes_first=st.sampled_from([0, 1]))
def test_a_fork_and_its_source_write_apart(backend: CudaBackend, at: int, writes_first: int) -> None:
    empty(backend)
    compute(backend, 0, TOKENS[:200])
    backend.fork(0, 1, at)
    backend.trim(0, at)
    tails = {0: TOKENS[300:370], 1: TOKENS[500:570]}
    for sequence in (writes_first, 1 - writes_first):
        compute(backend, sequence, tails[sequence], at)
    for sequence, tail in tails.items():
        found = next_logits(backend, sequence, at + 70)
        assert close_to(found, computed(backend, [*TOKENS[:at], *tail, 7]))


cuts = st.lists(st.integers(1, 199), max_size=6).map(lambda found: [0, *sorted(set(found)), 200])


@few
@given(bounds=cuts, as_bytes=st.booleans())
def test_blocks_that_are_loaded_one_by_one_are_what_was_saved(
    backend: CudaBackend, bounds: list[int], as_bytes: bool
) -> None:
    """Exactly: the same bytes, and the same logits from them."""
    empty(backend)
    compute(backend, 0, TOKENS[:200])
    before, whole = next_logits(backend, 0, 200), bytes(backend.save(0))
    states = [backend.save(0, start, end) for start, end in itertools.pairwise(bounds)]
    compute(backend, 3, TOKENS[300:500])  # other pages are in between
    for state in states:
        assert backend.load(1, bytes(state) if as_bytes else state)
    assert bytes(backend.save(1)) == whole
    assert np.array_equal(next_logits(backend, 1, 200), before)
    assert backend.state_bytes(states[0]) == len(bytes(states[0]))


@pytest.mark.parametrize("damage", ["empty", "head", "cut", "longer", "magic", "count", "width"])
def test_a_damaged_state_is_not_loaded(backend: CudaBackend, damage: str) -> None:
    compute(backend, 0, TOKENS[:100])
    before, state = next_logits(backend, 0, 100), bytearray(backend.save(0, 50))
    damages: dict[str, bytes] = {
        "empty": b"",
        "head": bytes(state[:15]),
        "cut": bytes(state[:-1]),
        "longer": bytes(state) + b"\0",
        "magic": b"GGUF" + bytes(state[4:]),
        "count": bytes(state[:8]) + (2**32 - 1).to_bytes(4, "little") + bytes(state[12:]),
        "width": bytes(state[:12]) + (1).to_bytes(4, "little") + bytes(state[16:]),
    }
    backend.trim(0, 50)
    assert not backend.load(0, damages[damage])
    compute(backend, 0, TOKENS[50:100], 50)
    assert close_to(next_logits(backend, 0, 100), before)


def test_states_at_a_wrong_position_are_refused_and_change_nothing(backend: CudaBackend) -> None:
    compute(backend, 0, TOKENS[:128])
    before, block = next_logits(backend, 0, 128), backend.save(0, 64, 128)
    for target in (0, 1):
        with pytest.raises(AssertionError, match="saved at 64"):
            backend.load(target, block)
    with pytest.raises(AssertionError, match="128 positions, not 64 to 129"):
        backend.save(0, 64, 129)
    assert np.array_equal(next_logits(backend, 0, 128), before)


def test_running_out_of_pages_leaves_other_sequences_usable(folder: Path) -> None:
    backend = open_cuda(model(folder, "llama", "f16", sizes=SMALL), context_tokens=128, max_live=2, chunk_tokens=128)
    compute(backend, 0, TOKENS[:60])
    expected = computed(backend, TOKENS[:62], sequence=1)
    backend.trim(1, 0)
    compute(backend, 1, TOKENS[:128])
    compute(backend, 1, TOKENS[:128], 128)
    with pytest.raises(EngineFailure, match=r"no page of KV is left|refused a batch"):
        compute(backend, 1, TOKENS[:128], 256)
    assert close_to(compute(backend, 0, TOKENS[60:62], 60), expected)
    backend.close()


@pytest.mark.parametrize(
    "rows",
    [
        Rows(0, 1, [1], Want.NONE),
        Rows(9, 0, [1], Want.NONE),
        Rows(-1, 0, [1], Want.NONE),
        Rows(0, 0, [], Want.NONE),
        Rows(0, 0, [258], Want.NONE),
        Rows(0, 0, [-1], Want.NONE),
        Rows(0, 0, [1] * 5000, Want.NONE),
        Rows(0, 0, [1], Want.LOGITS, num_draft=3),
        Rows(0, 0, [1] * 600, Want.LOGITS, num_draft=599),
    ],
)
def test_a_batch_that_cannot_be_is_refused(backend: CudaBackend, rows: Rows) -> None:
    backend.submit([rows])
    with pytest.raises(EngineFailure, match="refused a batch"):
        backend.wait()
    assert compute(backend, 0, [1]).size


def with_a_bad_token(folder: Path, token: int) -> Path:
    """A model in which one token's embedding holds a number that is none."""

    def encode(tensor: str, weight: Floats) -> tuple[int, bytes]:
        if tensor == "token_embd.weight":
            weight[token, 3] = np.nan
        return in_format("f16")(tensor, weight)

    return tiny_models.decoder(folder / f"bad-{token}.gguf", "llama", SMALL, encode)


def test_invalid_numbers_end_a_step_and_leave_the_others_usable(tmp_path: Path) -> None:
    backend = open_cuda(with_a_bad_token(tmp_path, 200), context_tokens=128, max_live=2)
    tokens = [token for token in TOKENS[:70] if token != 200][:60]
    expected = computed(backend, tokens, sequence=1)
    empty(backend)
    for sequence in (0, 1):  # leaves such numbers in pages that are taken again
        backend.submit([Rows(sequence, 0, [200] * 64, Want.BEST)])
        with pytest.raises(EngineFailure, match="invalid numbers"):
            backend.wait()
    empty(backend)
    assert close_to(computed(backend, tokens, sequence=1), expected)
    backend.close()


def test_a_model_that_computes_invalid_numbers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="invalid numbers"):
        open_cuda(with_a_bad_token(tmp_path, 0))


def test_states_name_what_they_depend_on(folder: Path) -> None:
    lines = []
    for name, config in (
        ("llama", {}),
        ("llama", {"context_tokens": 256}),
        ("llama", {"weights": "int8"}),
        ("qwen2", {}),
    ):
        opened = open_cuda(model(folder, name, "f16", sizes=SMALL), **config)
        lines.append(opened.state_fingerprint)
        opened.close()
    assert lines[0] == lines[1]
    assert len(set(lines)) == 3
