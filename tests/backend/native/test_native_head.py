"""The last matrix, of which only a part is read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firesteel.backend.base import Rows, Want
from firesteel.backend.native.backend import NativeBackend
from tests.backend import tiny_models
from tests.backend.native.models import TOKENS, all_logits, in_format
from tests.backend.native.oracle import Floats
from tests.backend.native.running import (
    SMALL,
    empty,
    few,
    open_native,
    run,
)
from tests.backend.tiny_models import Sizes

# The last matrix, of which only a part is read


@pytest.fixture(scope="module")
def wide(folder: Path) -> Iterator[NativeBackend]:
    """A model whose last matrix is in 8 bits, and mostly so small that it need not be read whole."""

    def encode(tensor: str, weight: Floats) -> tuple[int, bytes]:
        if tensor == "output.weight":
            weight[np.arange(258) // 16 % 4 > 0] *= 0.1
        return in_format("q4_0", "q8_0")(tensor, weight)

    path = tiny_models.decoder(folder / "wide.gguf", "llama", Sizes(), encode)
    opened = open_native(path, num_threads=2)
    yield opened
    opened.close()


@few
@given(start=st.integers(0, 500), count=st.integers(1, 40))
def test_the_best_token_is_that_of_the_logits(wide: NativeBackend, start: int, count: int) -> None:
    tokens = TOKENS[start : start + count]
    logits = all_logits(wide, tokens)
    wide.submit([Rows(0, 0, tokens, Want.BEST, num_draft=count - 1)])
    (output,) = wide.wait()
    wide.trim(0, 0)
    assert output.tokens == logits.argmax(axis=1).tolist()  # argmax: the lowest index on ties


@few
@given(start=st.integers(0, 500), window=st.floats(0, 11, allow_subnormal=False))
def test_logits_within_a_window_are_exact(wide: NativeBackend, start: int, window: float) -> None:
    tokens = TOKENS[start : start + 20]
    exact = all_logits(wide, tokens)
    (found,) = run(wide, Rows(0, 0, tokens, Want.LOGITS, num_draft=19, window=window))
    wide.trim(0, 0)
    for row, whole in zip(found, exact, strict=True):
        within = whole >= whole.max() - np.float32(window)
        assert np.array_equal(row[within], whole[within])
        assert (row[~within] < whole.max() - np.float32(window) + 1e-5).all()
        assert row.argmax() == whole.argmax()


def test_the_best_is_found_without_reading_all(wide: NativeBackend) -> None:
    bytes_read = []
    for _ in range(32):  # whatever ran before made of it
        run(wide, Rows(0, 0, [5], Want.NONE))
        wide.trim(0, 0)
    for rows in (Rows(0, 0, [5], Want.BEST), Rows(0, 0, [5], Want.LOGITS)):
        wide.submit([rows])
        wide.wait()
        wide.trim(0, 0)
        bytes_read.append(wide.head_bytes_read)
    assert bytes_read[0] < 0.9 * bytes_read[1]


def test_a_plane_that_decides_nothing_is_left_out_for_a_while(folder: Path) -> None:
    path = tiny_models.decoder(folder / "flat.gguf", "llama", Sizes(), in_format("q4_0", "q8_0"))
    backend = open_native(path, num_threads=2)
    read, best = [], []
    for position, token in enumerate(TOKENS[:40]):
        backend.submit([Rows(0, position, [token], Want.BEST)])
        (output,) = backend.wait()
        best += output.tokens
        read.append(backend.head_bytes_read)
    backend.trim(0, 0)
    assert best == all_logits(backend, TOKENS[:40]).argmax(axis=1).tolist()
    backend.submit([Rows(0, 0, TOKENS[:1], Want.LOGITS)])
    backend.wait()
    assert read.count(backend.head_bytes_read) >= 30  # everything, once
    assert max(read) > backend.head_bytes_read  # the plane, and then nearly everything
    backend.close()


@pytest.mark.parametrize("head", ["q8_0", "q4_0", "f32"])
def test_of_equal_logits_the_lowest_token_is_the_best(tmp_path: Path, head: str) -> None:
    """All rows of the last matrix are the same, or come in equal pairs far apart."""
    for pattern in ("equal", "pairs"):

        def encode(tensor: str, weight: Floats, pattern: str = pattern) -> tuple[int, bytes]:
            if tensor == "output.weight":
                weight[129:] = weight[:129]
                if pattern == "equal":
                    weight[:] = weight[0]
            return in_format("q4_0", head)(tensor, weight)

        path = tiny_models.decoder(tmp_path / f"{pattern}.gguf", "llama", SMALL, encode)
        backend = open_native(path, num_threads=5)
        logits = all_logits(backend, TOKENS[:40])
        backend.submit([Rows(0, 0, TOKENS[:40], Want.BEST, num_draft=39)])
        (output,) = backend.wait()
        assert output.tokens == logits.argmax(axis=1).tolist()
        assert max(output.tokens) < (1 if pattern == "equal" else 129)
        backend.close()


def test_batches_that_want_different_things(wide: NativeBackend) -> None:
    """Best tokens, windows and whole logits in one batch are each what they are alone."""
    empty(wide)
    wanted: list[dict[str, Any]] = [
        {"want": Want.LOGITS},
        {"want": Want.BEST},
        {"want": Want.LOGITS, "window": 2.0},
        {"want": Want.NONE},
    ]
    batch = [Rows(i, 0, TOKENS[i * 9 : i * 9 + 5], **want) for i, want in enumerate(wanted)]
    expected = []
    for rows in batch:
        wide.submit([rows])
        (output,) = wide.wait()
        expected.append((output.tokens, [row.copy() for row in output.logits]))
        wide.trim(rows.sequence, 0)
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]):
        wide.submit([batch[i] for i in order])
        outputs = wide.wait()
        for i, output in zip(order, outputs, strict=True):
            assert output.tokens == expected[i][0]
            assert np.array_equal(output.logits, expected[i][1])
        empty(wide)
