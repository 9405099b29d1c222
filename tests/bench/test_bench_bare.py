import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firesteel.backend.base import Capabilities, Output, Rows, State, Want
from firesteel.backend.scripted import ScriptedBackend
from firesteel.bench import bare
from firesteel.bench.bare import Bare, moved, positions
from firesteel.bench.subject import Subject
from firesteel.clock import SystemClock
from firesteel.config import EngineConfig
from firesteel.errors import ConfigError
from firesteel.models import pull
from firesteel.models.catalogue import DEFAULT
from firesteel.types import ModelInfo

KV_BYTES = 5  # a token, in the states made here; not a multiple of four
TOKENS = list(range(10, 200))


def state_of(first: int, count: int, *, num_owners: int = 1) -> npt.NDArray[np.uint8]:
    """Return what libllama saves for `count` positions from `first` on."""
    cells = np.array([[first + n, num_owners, 7] for n in range(count)], np.int32).reshape(-1)
    head = np.array([-1357628200, 7, 1, count], np.int32)
    return np.concatenate([head.view(np.uint8), cells.view(np.uint8), np.arange(KV_BYTES * count).astype(np.uint8)])


class CopyingBackend:
    """The memory of a model whose states look like libllama's; a load that does not continue is an AssertionError."""

    info = ModelInfo(name="copying", architecture="qwen2", context_length=10_000)

    def __init__(self, *, can_trim: bool = True) -> None:
        self.capabilities = Capabilities(
            num_cells=10_000, max_sequences=1, max_rows=8, max_wanted_rows=1, chunk_rows=8, can_trim=can_trim
        )
        self.held: list[int] = []
        self.num_computed = 0
        self.wants: list[Want] = []

    def submit(self, batch: list[Rows]) -> None:
        (rows,) = batch
        assert rows.position == len(self.held)
        assert len(rows.tokens) <= self.capabilities.max_rows
        self.held += range(rows.position, rows.position + len(rows.tokens))
        self.num_computed += len(rows.tokens)
        self.wants.append(rows.want)

    def wait(self) -> list[Output]:
        return [Output()]

    def trim(self, sequence: int, to: int) -> None:
        assert to <= len(self.held)
        del self.held[to:]

    def save(self, sequence: int, start: int = 0, end: int | None = None) -> State:
        end = len(self.held) if end is None else end
        assert end <= len(self.held)
        return state_of(start, end - start)

    def load(self, sequence: int, state: State) -> bool:
        found = positions(state).tolist()
        assert found[0] == len(self.held)
        self.held += found
        return True


@given(st.integers(0, 50), st.integers(0, 100_000))
def test_moved_changes_the_positions_and_nothing_else(count: int, by: int) -> None:
    state = state_of(0, count)
    assert (moved(state.tobytes(), by) == state_of(by, count)).all()
    assert (state == state_of(0, count)).all()


@pytest.mark.parametrize(
    "state",
    [b"", b"12345678" * 9, state_of(0, 4, num_owners=2), state_of(0, 4)[:40], moved(state_of(0, 4), 1)[4:]],
    ids=["empty", "other", "shared", "short", "shifted"],
)
def test_an_unknown_layout_is_refused(state: State) -> None:
    with pytest.raises(ConfigError, match="unknown layout"):
        moved(state, 1)


@given(st.lists(st.integers(0, 300), max_size=8))
def test_history_is_computed_once_and_copied_from_there_on(lengths: list[int]) -> None:
    backend = CopyingBackend()
    one = Bare(backend, TOKENS)  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bare, "BLOCK", 64)
        for length in lengths:
            one.fill(length)
            assert backend.held == list(range(length))
            one.step(3)
            assert backend.held == list(range(length))
    assert backend.num_computed <= sum(64 + 3 for _ in lengths)


def test_a_step_wants_a_token_of_its_last_chunk_only() -> None:
    backend = CopyingBackend()
    one = Bare(backend, TOKENS)  # type: ignore[arg-type]
    one.fill(5)
    backend.wants.clear()
    assert one.seconds(20, runs=1) > 0
    assert backend.wants == [Want.NONE, Want.NONE, Want.BEST]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 3_000), max_size=4), st.integers(1, 70))
def test_the_scripted_model_computes_all_of_it(lengths: list[int], rows: int) -> None:
    backend = ScriptedBackend(None, EngineConfig(backend="scripted", context_tokens=4096), SystemClock())
    one = Bare(backend, TOKENS)
    for length in lengths:
        one.fill(length)
        assert one.seconds(rows, runs=1) > 0
        assert len(backend.tokens(0)) == length


def test_a_model_that_cannot_go_back_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot go back"):
        Bare(CopyingBackend(can_trim=False), TOKENS)  # type: ignore[arg-type]


@pytest.mark.model
def test_a_real_sequence_filled_by_copies_has_the_expected_positions_and_steps_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bare, "BLOCK", 128)
    with bare.opened(Subject(pull.pull(DEFAULT)), 1024, max_live=1) as one:
        for length in (500, 130, 777):
            one.fill(length)
            assert positions(one.backend.save(0)).tolist() == list(range(length))
            assert one.step(1) > 0
            assert one.step(80) > 0
            assert positions(one.backend.save(0)).tolist() == list(range(length))
