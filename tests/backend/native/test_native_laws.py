"""Laws of the native backend: to the last bit, nothing but the sequence matters."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firesteel.backend.base import Rows, Want
from firesteel.backend.native import library
from firesteel.backend.native.backend import NativeBackend
from firesteel.errors import ConfigError
from tests.backend.native.models import ARCHITECTURES, TOKENS, all_logits, compute, model
from tests.backend.native.running import (
    SMALL,
    empty,
    few,
    next_logits,
    open_architecture,
    open_native,
    run,
)

# What is computed together does not matter


@few
@given(length=st.integers(1, 300), chunk=st.integers(1, 64))
def test_chunks_do_not_matter(backend: NativeBackend, length: int, chunk: int) -> None:
    empty(backend)
    whole = compute(backend, 0, TOKENS[:length])
    assert np.array_equal(compute(backend, 1, TOKENS[:length], chunk=chunk), whole)
    assert bytes(backend.save(0)) == bytes(backend.save(1))


@few
@given(length=st.integers(2, 40), known=st.integers(0, 130))
def test_rows_of_a_draft_are_rows(backend: NativeBackend, length: int, known: int) -> None:
    empty(backend)
    if known:
        compute(backend, 0, TOKENS[:known])
        backend.fork(0, 1, known)
    tokens = TOKENS[known : known + length]
    (drafted,) = run(backend, Rows(0, known, tokens, Want.LOGITS, num_draft=length - 1))
    alone = [compute(backend, 1, [token], known + i) for i, token in enumerate(tokens)]
    assert np.array_equal(drafted, alone)


@few
@given(data=st.data())
def test_others_in_the_batch_do_not_matter(backend: NativeBackend, data: st.DataObject) -> None:
    empty(backend)
    size = st.integers(1, 70)
    before = [data.draw(st.integers(0, 150)) for _ in range(3)]
    counts = [data.draw(size) for _ in range(3)]
    if sum(counts) > backend.capabilities.max_rows:
        counts = [1 + count % 20 for count in counts]
    tokens = [TOKENS[sequence * 31 :][: before[sequence] + counts[sequence]] for sequence in range(3)]
    alone = [compute(backend, 3, each) for each in tokens if not backend.trim(3, 0)]  # type: ignore[func-returns-value]
    for sequence in range(3):
        if before[sequence]:
            compute(backend, sequence, tokens[sequence][: before[sequence]])
    order = data.draw(st.permutations(range(3)))
    outputs = run(backend, *(Rows(i, before[i], tokens[i][before[i] :], Want.LOGITS) for i in order))
    for sequence, output in zip(order, outputs, strict=True):
        assert np.array_equal(output[0], alone[sequence])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_number_of_threads_does_not_matter(folder: Path, architecture: str) -> None:
    results, states = [], []
    for threads in (1, 2, 5):
        backend = open_architecture(folder, architecture, num_threads=threads)
        compute(backend, 0, TOKENS[:200])
        results.append(all_logits(backend, TOKENS[:20], sequence=1))
        results[-1] = np.concatenate([results[-1], next_logits(backend, 0, 200)[None]])
        states.append(bytes(backend.save(0)))
        backend.close()
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])
    assert states[0] == states[1] == states[2]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_size_of_the_context_does_not_matter_while_ranges_are_as_long(folder: Path, architecture: str) -> None:
    results = []
    for cells in (320, 2048):
        backend = open_architecture(folder, architecture, context_tokens=cells)
        results.append(compute(backend, 0, TOKENS[:300]))
        backend.close()
    assert np.array_equal(results[0], results[1])


def test_a_history_of_several_ranges_of_attention(folder: Path) -> None:
    """1,024 positions make a range: chunks, single rows and drafts agree across its border, too."""
    backend = open_architecture(folder, "llama", context_tokens=2048, num_threads=2)
    tokens = (TOKENS * 2)[:1040]
    compute(backend, 0, tokens[:1016])
    backend.fork(0, 1, 1016)
    (drafted,) = run(backend, Rows(0, 1016, tokens[1016:], Want.LOGITS, num_draft=23))
    alone = [compute(backend, 1, [token], 1016 + i) for i, token in enumerate(tokens[1016:])]
    assert np.array_equal(drafted, alone)
    backend.close()


def test_every_instruction_set_computes_the_same_but_for_rounding(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within 1 % of the spread: a rounding may move a code by one."""
    results = []
    for kernels in library.kernel_sets():
        monkeypatch.setenv("FIRESTEEL_KERNELS", kernels)
        backend = open_architecture(folder, "qwen2")
        assert backend.kernels == kernels
        results.append(all_logits(backend, TOKENS[:20]))
        backend.close()
    for result in results:
        assert np.abs(result - results[0]).max() <= 0.02 * results[0].std()


def test_an_instruction_set_that_is_not_here_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRESTEEL_KERNELS", "sse9")
    with pytest.raises(ConfigError, match=r"does not have these instructions \(FIRESTEEL_KERNELS may be one of"):
        open_architecture(folder, "llama")


# Trim, fork, save, load


@few
@given(length=st.integers(1, 200), to=st.integers(0, 200))
def test_what_is_trimmed_was_never_there(backend: NativeBackend, length: int, to: int) -> None:
    empty(backend)
    compute(backend, 0, TOKENS[:length])
    to = min(to, length)
    backend.trim(0, to)
    foreign = TOKENS[400:450]
    expected = compute(backend, 1, TOKENS[:to] + foreign)
    assert np.array_equal(compute(backend, 0, foreign, to), expected)


@few
@given(at=st.integers(1, 200), writes_first=st.sampled_from([0, 1]))
def test_a_fork_and_its_source_write_apart(backend: NativeBackend, at: int, writes_first: int) -> None:
    """In the middle of a page as at its end, whichever writes first."""
    empty(backend)
    compute(backend, 0, TOKENS[:200])
    backend.fork(0, 1, at)
    backend.trim(0, at)
    tails = {0: TOKENS[300:370], 1: TOKENS[500:570]}
    for sequence in (writes_first, 1 - writes_first):
        compute(backend, sequence, tails[sequence], at)
    for sequence, tail in tails.items():
        found = next_logits(backend, sequence, at + 70)
        backend.trim(2, 0)
        compute(backend, 2, TOKENS[:at] + tail)
        assert np.array_equal(next_logits(backend, 2, at + 70), found)


def test_forks_of_forks_survive_their_source(backend: NativeBackend) -> None:
    compute(backend, 0, TOKENS[:100])
    expected = next_logits(backend, 0, 90 if backend.trim(0, 90) is None else 0)  # type: ignore[func-returns-value]
    backend.fork(0, 1, 90)
    backend.fork(1, 2, 90)
    backend.trim(0, 0)
    compute(backend, 0, TOKENS[600:700])
    backend.trim(1, 30)
    compute(backend, 1, TOKENS[400:500], 30)
    assert np.array_equal(next_logits(backend, 2, 90), expected)


def test_pages_are_shared_and_given_back(backend: NativeBackend) -> None:
    def free() -> int:
        return int(library.load().fs_free_pages(backend._handle))

    before = free()
    compute(backend, 0, TOKENS[:256])
    assert before - free() == 4
    for target in (1, 2, 3):
        backend.fork(0, target, 200)
    assert before - free() == 4
    compute(backend, 1, [7], 200)
    assert before - free() == 5  # a copy of the page that is half full
    empty(backend)
    assert free() == before


cuts = st.lists(st.integers(1, 199), max_size=6).map(lambda found: [0, *sorted(set(found)), 200])


@few
@given(bounds=cuts, as_bytes=st.booleans())
def test_blocks_that_are_loaded_one_by_one_are_what_was_saved(
    backend: NativeBackend, bounds: list[int], as_bytes: bool
) -> None:
    empty(backend)
    compute(backend, 0, TOKENS[:200])
    before = next_logits(backend, 0, 200)
    states = [backend.save(0, start, end) for start, end in itertools.pairwise(bounds)]
    compute(backend, 3, TOKENS[300:500])  # other pages are in between
    for state in states:
        assert backend.load(1, bytes(state) if as_bytes else state)
    assert np.array_equal(next_logits(backend, 1, 200), before)
    assert backend.state_bytes(states[0]) == len(bytes(states[0]))


@few
@given(at=st.integers(1, 199))
def test_what_is_loaded_into_a_fork_leaves_the_source_alone(backend: NativeBackend, at: int) -> None:
    empty(backend)
    compute(backend, 0, TOKENS[:200])
    before = next_logits(backend, 0, 200)
    compute(backend, 1, TOKENS[:at] + TOKENS[500:600])
    tail, foreign = backend.save(1, at), next_logits(backend, 1, at + 100)
    backend.fork(0, 2, at)
    assert backend.load(2, tail)
    assert np.array_equal(next_logits(backend, 2, at + 100), foreign)
    assert np.array_equal(next_logits(backend, 0, 200), before)


@pytest.mark.parametrize("damage", ["empty", "head", "cut", "longer", "magic", "count", "width"])
def test_a_damaged_state_is_not_loaded(backend: NativeBackend, damage: str) -> None:
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
    assert np.array_equal(next_logits(backend, 0, 100), before)


def test_states_at_a_wrong_position_are_refused_and_change_nothing(backend: NativeBackend) -> None:
    compute(backend, 0, TOKENS[:128])
    before, block = next_logits(backend, 0, 128), backend.save(0, 64, 128)
    for target in (0, 1):
        with pytest.raises(AssertionError, match="saved at 64"):
            backend.load(target, block)
    with pytest.raises(AssertionError, match="128 positions, not 64 to 129"):
        backend.save(0, 64, 129)
    assert np.array_equal(next_logits(backend, 0, 128), before)


def test_states_name_what_they_depend_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fingerprint(**config: Any) -> str:
        opened = open_native(model(folder, "llama", "q8_0", sizes=SMALL), **config)
        line = opened.state_fingerprint
        opened.close()
        return line

    here = fingerprint()
    assert fingerprint(context_tokens=256, num_threads=2) == here
    others = {fingerprint(kv_type="q8_0")}
    monkeypatch.setenv("FIRESTEEL_KERNELS", "portable")
    others.add(fingerprint())
    assert here not in others or library.kernel_sets() == ("portable",)
    assert len(others) == 2
