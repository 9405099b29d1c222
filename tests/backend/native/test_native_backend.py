"""The laws of the native backend: what is computed depends on the sequence alone, to the last bit."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from firesteel.backend.base import Aborted, Rows, Want
from firesteel.backend.native import library
from firesteel.backend.native.backend import NativeBackend
from firesteel.errors import EngineFailure, ModelError
from tests.backend import tiny_models
from tests.backend.native.models import TOKENS, compute, in_format, model
from tests.backend.native.oracle import Floats
from tests.backend.native.running import (
    SMALL,
    empty,
    next_logits,
    one_by_one,
    open_architecture,
    open_native,
    run,
)
from tests.backend.tiny_models import Sizes

# Failures


def test_an_abort_leaves_the_sequences_as_they_were(folder: Path) -> None:
    path = model(folder, "llama", "q4_0", sizes=Sizes(layers=12, width=256, inner=1024))
    backend = open_native(path, num_threads=2)
    compute(backend, 0, TOKENS[:100])
    before, state = next_logits(backend, 0, 100), bytes(backend.save(0))
    aborted = 0
    for attempt in range(40):
        timer = threading.Timer(0.0002 * attempt, backend.abort)
        timer.start()
        backend.submit([Rows(0, 100, TOKENS[100:160], Want.LOGITS), Rows(1, 0, [3], Want.BEST)])
        try:
            backend.wait()
        except Aborted:
            aborted += 1
            assert bytes(backend.save(0)) == state
        timer.join()
        backend.trim(0, 100)
        backend.trim(1, 0)
        assert np.array_equal(next_logits(backend, 0, 100), before)
    assert aborted
    backend.close()


def test_running_out_of_pages_leaves_other_sequences_usable(folder: Path) -> None:
    backend = open_architecture(folder, "llama", context_tokens=256, max_live=2, chunk_tokens=64)
    compute(backend, 0, TOKENS[:60])
    expected = one_by_one(backend, TOKENS[:70], sequence=1)
    pages = library.load().fs_free_pages(backend._handle)
    compute(backend, 1, TOKENS[: 64 * pages])
    state = bytes(backend.save(1))
    assert pages >= 4
    for batch in ([Rows(1, 64 * pages, [5], Want.NONE)], [Rows(0, 60, [1] * 5, Want.NONE)]):
        backend.submit(batch)
        with pytest.raises(EngineFailure, match="no page of KV is left"):
            backend.wait()
    assert bytes(backend.save(1)) == state
    assert np.array_equal(compute(backend, 0, TOKENS[60:64], 60), expected[63])
    backend.trim(1, 64)
    assert np.array_equal(compute(backend, 0, TOKENS[64:70], 64), expected[69])
    backend.close()


def test_a_step_that_found_no_page_keeps_none(folder: Path) -> None:
    backend = open_architecture(folder, "llama", context_tokens=64, max_live=2, chunk_tokens=64)  # 5 pages
    compute(backend, 0, TOKENS[:128])
    compute(backend, 1, TOKENS[:64])
    free = library.load().fs_free_pages(backend._handle)
    backend.submit([Rows(0, 128, [1], Want.NONE), Rows(1, 64, TOKENS[:65], Want.NONE)])
    with pytest.raises(EngineFailure, match="no page of KV is left"):
        backend.wait()
    left = library.load().fs_free_pages(backend._handle)
    backend.close()
    assert left == free


@pytest.mark.parametrize(
    "rows",
    [
        Rows(0, 1, [1], Want.NONE),
        Rows(9, 0, [1], Want.NONE),
        Rows(-1, 0, [1], Want.NONE),
        Rows(0, 0, [], Want.NONE),
        Rows(0, 0, [258], Want.NONE),
        Rows(0, 0, [-1], Want.NONE),
        Rows(0, 0, [1] * 500, Want.NONE),
        Rows(0, 0, [1], Want.LOGITS, num_draft=3),
        Rows(0, 0, [1] * 60, Want.LOGITS, num_draft=59),
    ],
)
def test_a_batch_that_cannot_be_is_refused(backend: NativeBackend, rows: Rows) -> None:
    backend.submit([rows])
    with pytest.raises(EngineFailure, match="refused a batch"):
        backend.wait()
    assert compute(backend, 0, [1]).size


def threads() -> set[str]:
    return {task.name for task in Path("/proc/self/task").iterdir()}


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="only Linux lists its threads")
def test_no_thread_outlives_its_backend(folder: Path) -> None:
    open_architecture(folder, "llama").close()  # the weights are packed, by threads of their own
    before = threads()
    backend = open_architecture(folder, "llama", num_threads=5)
    compute(backend, 0, TOKENS[:10])
    until = time.monotonic() + 5
    while len(threads() - before) != 4 and time.monotonic() < until:  # those that check the packed file end
        time.sleep(0.01)
    assert len(threads() - before) == 4
    backend.close()
    assert not threads() - before


def test_no_thread_outlives_a_model_that_cannot_be_used(tmp_path: Path) -> None:
    path = with_a_bad_token(tmp_path, 0, np.nan)
    with pytest.raises(ModelError, match="invalid numbers"):
        open_native(path)
    before = threads()
    with pytest.raises(ModelError, match="invalid numbers"):
        open_native(path, num_threads=5)
    until = time.monotonic() + 2
    while threads() - before and time.monotonic() < until:
        time.sleep(0.01)
    assert not threads() - before


def test_an_idle_backend_uses_no_processor(folder: Path) -> None:
    backend = open_architecture(folder, "llama", num_threads=3)
    compute(backend, 0, TOKENS[:10])
    time.sleep(0.05)
    before = time.process_time()
    time.sleep(0.5)
    used = time.process_time() - before
    backend.close()
    assert used < 0.1


def with_a_bad_token(folder: Path, token: int, number: float) -> Path:
    """A model in which one token's embedding holds a number that is none."""

    def encode(tensor: str, weight: Floats) -> tuple[int, bytes]:
        if tensor == "token_embd.weight":
            weight[token, 3] = number
        return in_format("f16")(tensor, weight)

    return tiny_models.decoder(folder / "bad.gguf", "llama", SMALL, encode)


@pytest.mark.parametrize("number", [np.nan, np.inf])
@pytest.mark.parametrize("kv_type", ["f16", "q8_0"])
def test_invalid_numbers_of_one_sequence_do_not_reach_another(tmp_path: Path, kv_type: str, number: float) -> None:
    """Neither beside them in a batch nor in the pages that they leave behind."""
    backend = open_native(with_a_bad_token(tmp_path, 200, number), kv_type=kv_type, context_tokens=64, max_live=2)
    tokens = [token for token in TOKENS[:70] if token != 200][:60]
    expected = one_by_one(backend, tokens)
    compute(backend, 0, tokens[:30])
    with pytest.raises(EngineFailure, match="invalid numbers"):
        run(backend, Rows(0, 30, tokens[30:50], Want.LOGITS, num_draft=19), Rows(1, 0, [200] * 30, Want.NONE))
    assert np.array_equal(compute(backend, 0, tokens[30:], 30), expected[-1])
    empty(backend)
    for sequence in (0, 1):  # dirties pages; the free ones are taken in another order afterwards
        backend.submit([Rows(sequence, 0, [200] * 64, Want.NONE)])
        with pytest.raises(EngineFailure, match="invalid numbers"):
            backend.wait()
    empty(backend)
    assert np.array_equal(one_by_one(backend, tokens), expected)
    backend.close()
