"""The contract of the scripted backend: positions, cells, trim, fork, save, load; the law of pure history."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firesteel.backend.base import Rows, Want
from firesteel.backend.scripted import Rule, Script, ScriptedBackend
from firesteel.clock import ManualClock
from firesteel.config import EngineConfig

CHAT = "<|user|>Write a function.<|end|><|assistant|>"
HASH = Script(rules=(Rule(mode="hash"),))


def make(
    script: Script | None = None,
    *,
    context_tokens: int | None = None,
    max_live: int | None = 4,
    chunk_tokens: int | None = None,
) -> ScriptedBackend:
    config = EngineConfig(context_tokens=context_tokens, max_live=max_live, chunk_tokens=chunk_tokens)
    return ScriptedBackend(script, config, ManualClock())


def encode(backend: ScriptedBackend, text: str) -> list[int]:
    return backend.tokenizer.encode(text, special=True)


def compute(backend: ScriptedBackend, sequence: int, tokens: list[int], want: Want = Want.BEST) -> list[int]:
    """Compute `tokens` after what `sequence` holds; return what was said (for LOGITS, the best token)."""
    position = len(backend.tokens(sequence))
    backend.submit([Rows(sequence, position, tokens, want, 4096)])
    (output,) = backend.wait()
    return output.tokens or [int(logits.argmax()) for logits in output.logits]


def generate(
    backend: ScriptedBackend, prompt: list[int], count: int, *, sequence: int = 0, want: Want = Want.BEST
) -> list[int]:
    """Return at least `count` tokens after `prompt`, fewer only where the reply ends."""
    said: list[int] = []
    new = prompt
    while len(said) < count and not (said and said[-1] in backend.tokenizer.end_tokens):
        said += compute(backend, sequence, new, want)
        new = said[-1:]
    return said


def say(backend: ScriptedBackend, text: str, count: int = 400) -> str:
    """Return what is said after `text` on an emptied sequence 0."""
    backend.trim(0, 0)
    return backend.tokenizer.decode(generate(backend, encode(backend, text), count))


tokens_strategy = st.lists(st.integers(0, 900), min_size=1, max_size=90)
said_parts = ("def ", "d", "ef ", "def load_items_0(", "sho", "rt", "a long", " reply", "<|end|>")
other_parts = ("<|assistant|>", "<|user|>self", "<|tool|>", "<|tools|>[]", "<|end|>", "x", "self", "#")
near_histories = st.lists(  # near to a plan or to a turn: parts of both, cut anywhere
    st.sampled_from(said_parts) | st.sampled_from(other_parts), min_size=1, max_size=8
).map(lambda parts: [token for part in parts for token in encode(make(), part)])
scripts = st.sampled_from(
    [
        None,
        HASH,
        Script(rules=(Rule(match="self", say="a long reply, self.value"), Rule(match="x", mode="hash"))),
        Script(rules=(Rule(say="short"),)),
        Script(rules=(Rule(say=""),)),
    ]
)


@given(script=scripts, history=tokens_strategy | near_histories, data=st.data())
def test_next_token_depends_on_the_history_alone(
    script: Script | None, history: list[int], data: st.DataObject
) -> None:
    backend = make(script)
    whole = compute(backend, 0, history)
    position = 0
    while position < len(history):  # the same history in random pieces, asked for or not
        size = data.draw(st.integers(1, len(history) - position))
        want = data.draw(st.sampled_from(Want)) if position + size < len(history) else Want.BEST
        said = compute(backend, 1, history[position : position + size], want)
        position += size
    assert said == whole


def change(backend: ScriptedBackend, move: str, size: int, foreign: list[int]) -> None:
    """Do one thing to sequence 0 that an engine may do to it."""
    held = len(backend.tokens(0))
    if move == "say":
        generate(backend, foreign[:1], size)
    elif move == "foreign":
        compute(backend, 0, foreign, Want(size % 2))
    elif move == "trim":
        backend.trim(0, max(held - size, 0))
    elif move == "fork":
        backend.fork(0, 1, max(held - size, 0))
        backend.trim(0, 0)
        backend.fork(1, 0, len(backend.tokens(1)))
        backend.trim(1, 0)
    else:
        state = backend.save(0)
        backend.trim(0, 0)
        backend.load(0, state)


moves = st.lists(
    st.tuples(
        st.sampled_from(["say", "foreign", "trim", "fork", "load"]),
        st.integers(0, 40),
        st.lists(st.integers(0, 900), min_size=1, max_size=5) | near_histories,
    ),
    max_size=8,
)


@settings(max_examples=200)
@given(script=scripts, prompt=st.sampled_from([CHAT, "def f(x):\n", "x"]), moves=moves)
def test_trim_fork_save_and_load_are_exact(
    script: Script | None, prompt: str, moves: list[tuple[str, int, list[int]]]
) -> None:
    backend = make(script)
    generate(backend, encode(backend, prompt), 40)
    for move, size, foreign in moves:
        change(backend, move, size, foreign)
        said = compute(backend, 0, foreign)
        assert said == compute(make(script), 0, backend.tokens(0))
        assert backend.used_cells() == len(backend.tokens(0))


@given(script=scripts, prompt=st.sampled_from([CHAT, "x = 1\n"]), k=st.integers(2, 40))
def test_steps_of_many_tokens_say_the_same_and_compute_all_but_the_last(
    script: Script | None, prompt: str, k: int
) -> None:
    single = make(script)
    rules = script.rules if script is not None else ()
    many = make(Script(tokens_per_step=k, rules=rules))
    tokens = encode(single, prompt)
    expected = generate(single, tokens, 100)
    said = generate(many, tokens, 100)
    assert said[: len(expected)] == expected
    assert many.tokens(0) == (tokens + said)[:-1]
    assert all(token not in many.tokenizer.end_tokens for token in said[:-1])


@given(script=scripts, k=st.integers(1, 20), limits=st.lists(st.integers(1, 30), min_size=1, max_size=6))
def test_a_step_yields_no_more_tokens_than_its_rows_allow(script: Script | None, k: int, limits: list[int]) -> None:
    rules = script.rules if script is not None else ()
    backend = make(Script(tokens_per_step=k, rules=rules))
    assert backend.capabilities.max_step_tokens == k
    prompt = encode(backend, CHAT)
    expected = generate(make(script), prompt, 150)
    said: list[int] = []
    for limit in limits:
        position = len(backend.tokens(0))
        left = len(expected) - len(said)
        if not left:  # the reply has ended
            break
        backend.submit([Rows(0, position, said[-1:] or prompt, Want.BEST, limit)])
        (output,) = backend.wait()
        said += output.tokens
        assert len(output.tokens) == min(k, limit, left)
        assert backend.tokens(0) == (prompt + said)[:-1]
    assert said == expected[: len(said)]


@given(tokens_strategy, st.integers(0, 89), st.integers(0, 900))
def test_hash_mode_notices_any_change(history: list[int], at: int, token: int) -> None:
    backend = make(HASH)
    changed = list(history)
    changed[at % len(history)] = token
    prompt = [100] * 64  # the rule is chosen by these
    same = generate(backend, prompt + history, 6) == generate(backend, prompt + changed, 6, sequence=1)
    assert same == (changed == history)


@given(history=tokens_strategy)
def test_logits_carry_the_planned_token_and_noise_of_the_history(history: list[int]) -> None:
    backend = make()
    backend.submit([Rows(0, 0, history, Want.LOGITS)])
    (logits,) = backend.wait()[0].logits
    assert logits.shape == (backend.tokenizer.vocabulary_size,)
    assert logits.dtype == "float32"
    (planned,) = compute(backend, 1, history)
    assert logits.argmax() == planned
    assert 12 <= logits[planned] < 13.01
    others = [float(logit) for token, logit in enumerate(logits) if token != planned and token > 20]
    assert all(0 <= logit <= 1 for logit in others)
    assert len(set(others)) > 100


def test_noise_depends_on_the_whole_history() -> None:
    backend = make()
    noises = set()
    for token in range(20, 120):  # the first of 200 tokens
        backend.submit([Rows(0, 0, [token] + [50] * 199, Want.LOGITS)])
        (logits,) = backend.wait()[0].logits
        noises.add(logits.tobytes())
        backend.trim(0, 0)
    assert len(noises) == 100  # of 16,381 there are


def test_logits_are_one_token_a_step_whatever_the_script_says() -> None:
    backend = make(Script(tokens_per_step=8))
    prompt = encode(backend, CHAT)
    said = generate(backend, prompt, 10, want=Want.LOGITS)
    assert backend.tokens(0) == prompt + said[:-1]
    assert said == generate(backend, prompt, 10, sequence=1)[:10]


def test_rows_that_do_not_continue_the_kv_are_an_engine_bug() -> None:
    backend = make()
    with pytest.raises(AssertionError, match="rows at 3, but its KV holds 0"):
        backend.submit([Rows(0, 3, [20], Want.BEST)])
    with pytest.raises(AssertionError, match="two Rows"):
        backend.submit([Rows(0, 0, [20], Want.BEST), Rows(0, 0, [20], Want.BEST)])
    with pytest.raises(AssertionError, match="without tokens"):
        backend.submit([Rows(0, 0, [], Want.NONE)])
    with pytest.raises(AssertionError, match="max_rows"):
        backend.submit([Rows(0, 0, [20] * 2049, Want.NONE)])
    compute(backend, 0, [20])
    with pytest.raises(AssertionError, match="not empty"):
        backend.fork(1, 0, 0)
    with pytest.raises(AssertionError, match="trim to 2"):
        backend.trim(0, 2)


def test_cells_are_shared_by_forks_and_freed_by_the_last_holder() -> None:
    backend = make(context_tokens=100)
    compute(backend, 0, [20] * 60)
    backend.fork(0, 1, 50)
    backend.fork(1, 2, 40)
    assert backend.used_cells() == 60
    compute(backend, 1, [21] * 10)
    assert backend.used_cells() == 70
    backend.trim(0, 45)  # the cells 45 … 49 live on in sequence 1
    assert backend.used_cells() == 60
    compute(backend, 0, [22] * 40)
    assert backend.used_cells() == 100
    with pytest.raises(AssertionError, match="101 cells"):
        backend.submit([Rows(2, 40, [23], Want.BEST)])
    for sequence in range(3):
        backend.trim(sequence, 0)
    assert backend.used_cells() == 0


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 40)), max_size=25))
def test_used_cells_are_the_distinct_cells(moves: list[tuple[int, int, int]]) -> None:
    backend = make(max_live=4)
    model: list[list[object]] = [[] for _ in range(4)]  # each cell an object of its own
    for source, target, size in moves:
        if source == target:
            compute(backend, source, [20] * (size + 1), Want.NONE)
            model[source] += [object() for _ in range(size + 1)]
        elif model[target]:
            to = min(size, len(model[target]))
            backend.trim(target, to)
            del model[target][to:]
        else:
            to = min(size, len(model[source]))
            backend.fork(source, target, to)
            model[target] = model[source][:to]
        assert backend.used_cells() == len({id(cell) for cells in model for cell in cells})


def test_a_step_of_many_tokens_never_takes_more_cells_than_there_are() -> None:
    backend = make(Script(tokens_per_step=50), context_tokens=20)
    prompt = encode(backend, CHAT)
    said = compute(backend, 0, prompt)
    assert len(prompt) + len(said) - 1 == 20


def test_sizes_come_from_the_configuration() -> None:
    default, small = make(max_live=None), make(context_tokens=4096, max_live=3, chunk_tokens=4000)
    assert default.capabilities.num_cells == 1_048_576
    assert default.capabilities.max_sequences == 256
    assert default.info.context_length == 131_072
    assert small.info.context_length == 4096
    assert (small.capabilities.max_sequences, small.capabilities.chunk_rows) == (3, 4000)
    assert small.capabilities.max_rows == 4000
    compute(small, 0, [20] * 10)
    assert small.state_bytes(small.save(0)) == 640
