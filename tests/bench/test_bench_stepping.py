"""The child's side of `bench step`: what it computes, wants and drops."""

from hypothesis import given
from hypothesis import strategies as st

from firesteel.backend.base import Output, Rows, Want
from firesteel.bench.step_ours import BackendStepper
from firesteel.bench.stepping import History, Json

TEXT = list(range(1_000, 1_400))
CHUNK = 16
FILLS = st.tuples(st.just("fill"), st.integers(0, 350))
STEPS = st.tuples(st.just("step"), st.integers(1, 40))


class Recorder:
    """Holds one sequence; refuses rows that do not continue it."""

    def __init__(self) -> None:
        self.held: list[int] = []
        self.computed: list[tuple[int, int]] = []  # rows, wanted
        self.read = 0

    def about(self) -> Json:
        return {"name": "recorder", "version": "1"}

    def compute(self, tokens: list[int], position: int, num_wanted: int) -> None:
        assert position == len(self.held)
        assert 0 <= num_wanted <= len(tokens)
        self.held += tokens
        self.computed.append((len(tokens), num_wanted))
        self.read += 10

    def trim(self, to: int) -> None:
        assert to <= len(self.held)
        del self.held[to:]

    def bytes_read(self) -> int | None:
        return self.read


@given(st.lists(FILLS | STEPS, max_size=12))
def test_a_history_is_the_text_and_a_step_leaves_it_alone(requests: list[tuple[str, int]]) -> None:
    recorder = Recorder()
    history = History(recorder, CHUNK)
    history.tokens(TEXT)
    length = 0
    for do, number in requests:
        recorder.computed.clear()
        if do == "fill":
            history.fill(number)
            assert sum(rows for rows, _ in recorder.computed) == max(0, number - length)
            assert all(rows <= CHUNK for rows, _ in recorder.computed)
            assert [wanted for _, wanted in recorder.computed[-1:]] in ([], [1])
            length = number
        else:
            found = history.step(number, 2)
            assert recorder.computed == [(number, number)] * 3
            assert (len(found["seconds"]), found["bytes"]) == (2, 10)
        assert recorder.held == TEXT[:length]


class Backend:
    """Records what is submitted."""

    state_fingerprint = "firesteel-kv=1 backend=fake-1 model=123-abc kv=f16"

    def __init__(self) -> None:
        self.batches: list[list[Rows]] = []

    def submit(self, batch: list[Rows]) -> None:
        self.batches.append(batch)

    def wait(self) -> list[Output]:
        return [Output()]


def test_all_rows_but_the_first_are_a_draft_and_one_row_is_a_plain_step() -> None:
    backend = Backend()
    stepper = BackendStepper(backend)  # type: ignore[arg-type]
    stepper.compute([5, 6, 7], 10, 3)
    stepper.compute([5], 10, 1)
    stepper.compute([5, 6, 7], 10, 1)
    stepper.compute([5, 6, 7], 10, 0)
    assert [batch[0].num_wanted for batch in backend.batches] == [3, 1, 1, 0]
    assert [(batch[0].known, batch[0].draft) for batch in backend.batches[:2]] == [([5], [6, 7]), ([5], [])]
    assert [batch[0].want for batch in backend.batches] == [Want.BEST, Want.BEST, Want.BEST, Want.NONE]


def test_bytes_are_counted_where_the_backend_counts() -> None:
    backend = Backend()
    stepper = BackendStepper(backend)  # type: ignore[arg-type]
    assert stepper.bytes_read() is None
    backend.bytes_read = 7  # type: ignore[attr-defined]
    assert stepper.bytes_read() == 7


def test_it_says_what_its_states_depend_on_without_the_model() -> None:
    about = BackendStepper(Backend()).about()  # type: ignore[arg-type]
    assert about["version"] == "firesteel-kv=1 backend=fake-1 kv=f16"
