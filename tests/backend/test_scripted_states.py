"""Blocks of the scripted model's KV: any order of saves, loads, forks and trims equals plain lists."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firesteel.backend.base import Rows, State, Want
from firesteel.backend.scripted import Script, ScriptedBackend, parse_script
from firesteel.clock import ManualClock
from firesteel.config import EngineConfig
from firesteel.errors import EngineFailure

NUM_SEQUENCES, NUM_CELLS = 3, 120
Saved = list[tuple[State, list[int], list[int]]]  # state, tokens before it, tokens in it


def make(*, can_trim: bool = True, script: Script | None = None) -> ScriptedBackend:
    config = EngineConfig(max_live=NUM_SEQUENCES, context_tokens=NUM_CELLS)
    return ScriptedBackend(script, config, ManualClock(), can_trim=can_trim)


def compute(backend: ScriptedBackend, sequence: int, tokens: list[int]) -> None:
    backend.submit([Rows(sequence, len(backend.tokens(sequence)), tokens, Want.NONE)])
    backend.wait()


numbers = st.integers(0, 60)
sequences = st.integers(0, NUM_SEQUENCES - 1)
moves = st.one_of(
    st.tuples(st.just("compute"), sequences, st.integers(1, 40), numbers),
    st.tuples(st.just("save"), sequences, numbers, numbers),
    st.tuples(st.just("load"), sequences, numbers, numbers),
    st.tuples(st.just("trim"), sequences, numbers, numbers),
    st.tuples(st.just("fork"), sequences, sequences, numbers),
)


class Model:
    """What the sequences hold: each cell is an object, so that what forks share counts once."""

    def __init__(self) -> None:
        self.cells: list[list[tuple[int, object]]] = [[] for _ in range(NUM_SEQUENCES)]
        self.saved: Saved = []

    def tokens(self, sequence: int) -> list[int]:
        return [token for token, _ in self.cells[sequence]]

    def used(self) -> int:
        return len({id(cell) for held in self.cells for _, cell in held})

    def append(self, sequence: int, tokens: list[int]) -> None:
        self.cells[sequence] += [(token, object()) for token in tokens]


def apply(backend: ScriptedBackend, model: Model, move: str, sequence: int, first: int, second: int) -> None:
    """Do one move on both; those that the contract forbids must be refused and change nothing."""
    held = model.tokens(sequence)
    if move == "compute" and model.used() + first <= NUM_CELLS:
        tokens = [20 + second] * first
        compute(backend, sequence, tokens)
        model.append(sequence, tokens)
    elif move == "save":
        start, end = sorted((min(first, len(held)), min(second, len(held))))
        model.saved.append((backend.save(sequence, start, end), held[:start], held[start:end]))
    elif move == "load" and model.saved:
        state, before, tokens = model.saved[first % len(model.saved)]
        if before != held:
            with pytest.raises(AssertionError, match="is loaded behind"):
                backend.load(sequence, state)
            return
        fits = model.used() + len(tokens) <= NUM_CELLS
        assert backend.load(sequence, state) == fits
        model.append(sequence, tokens if fits else [])
    elif move == "trim":
        backend.trim(sequence, min(first, len(held)))
        del model.cells[sequence][first:]
    elif move == "fork" and not model.cells[first] and first != sequence:
        backend.fork(sequence, first, min(second, len(held)))
        model.cells[first] = model.cells[sequence][:second]


@settings(max_examples=300)
@given(st.lists(moves, max_size=40))
def test_any_order_of_moves_equals_plain_lists(steps: list[tuple[str, int, int, int]]) -> None:
    backend, model = make(), Model()
    for step in steps:
        apply(backend, model, *step)
        assert [backend.tokens(sequence) for sequence in range(NUM_SEQUENCES)] == [
            model.tokens(sequence) for sequence in range(NUM_SEQUENCES)
        ]
        assert backend.used_cells() == model.used()


@given(st.lists(st.integers(20, 900), min_size=1, max_size=50), st.integers(0, 50))
def test_states_travel_as_any_buffer_and_count_64_bytes_a_token(tokens: list[int], start: int) -> None:
    backend = make()
    start = min(start, len(tokens))
    compute(backend, 0, tokens)
    state = backend.save(0, start)
    for copy in (bytes(state), bytearray(state), memoryview(state)):
        assert backend.state_bytes(copy) == 64 * (len(tokens) - start)
        backend.trim(0, start)
        assert backend.load(0, copy)
        assert backend.tokens(0) == tokens


def test_a_block_is_refused_at_another_place_and_behind_another_prefix() -> None:
    backend = make()
    compute(backend, 0, [30, 31, 32, 33])
    compute(backend, 1, [30, 99])
    block = backend.save(0, 2)
    with pytest.raises(AssertionError, match="position 2 is loaded behind 0 tokens"):
        backend.load(2, block)
    with pytest.raises(AssertionError, match="behind other tokens than its own"):
        backend.load(1, block)
    with pytest.raises(AssertionError, match="holds 4 tokens, not 3 to 5"):
        backend.save(0, 3, 5)


def test_without_trim_only_wholes_are_allowed() -> None:
    backend = make(can_trim=False)
    capabilities = backend.capabilities
    assert not any((capabilities.can_trim, capabilities.can_fork, capabilities.can_abort))
    compute(backend, 0, [30, 31, 32])
    state = backend.save(0)
    backend.trim(0, 3)  # nothing to drop
    with pytest.raises(AssertionError, match="whole can be dropped"):
        backend.trim(0, 2)
    with pytest.raises(AssertionError, match="whole can be saved"):
        backend.save(0, 1)
    with pytest.raises(AssertionError, match="cannot fork"):
        backend.fork(0, 1, 3)
    with pytest.raises(AssertionError, match="is loaded behind"):
        backend.load(0, state)
    assert backend.load(1, state)
    backend.trim(0, 0)
    assert backend.tokens(1) == [30, 31, 32]


def test_without_trim_an_abort_is_without_effect() -> None:
    backend = make(can_trim=False)
    backend.submit([Rows(0, 0, [30], Want.BEST)])
    backend.abort()
    assert len(backend.wait()) == 1


def test_without_trim_a_failed_step_still_leaves_the_sequence_droppable() -> None:
    backend = make(can_trim=False, script=parse_script('{"rules": [{"fail_at": 0}]}'))
    backend.submit([Rows(0, 0, [30], Want.BEST)])
    with pytest.raises(EngineFailure):
        backend.wait()
    backend.trim(0, 0)
    assert backend.tokens(0) == []


def test_states_of_all_scripts_are_interchangeable() -> None:
    assert make().state_fingerprint == make(script=Script(tokens_per_step=4)).state_fingerprint
