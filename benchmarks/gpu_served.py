"""For gpu.py: rows that need a file, libllama's tokenizer and the installed package: engine, server, edits, text.

Without `--model` the file is written now: random weights of the real shape and a vocabulary that means nothing.
"""

import queue
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests write random models

if TYPE_CHECKING:
    from firesteel.backend.base import Backend
    from firesteel.bench.sides import Side
    from firesteel.bench.subject import Subject
    from firesteel.engine.worker import EngineWorker
    from firesteel.types import Event

Row = dict[str, Any]
NEW = 64  # tokens of a follow-up
UNCOUNTED = 2  # follow-ups: graphs are captured meanwhile
ROOM = 2048  # beside the history
TIE = 0.25  # of the logits' spread: two logits, each 0.057 from libllama's (docs/how-to/gpu.md), differ by so much
PROMPTS = (  # for text that is compared
    "def fibonacci(n):\n",
    "import json\n\n\ndef read_settings(path):\n    ",
    "class Stack:\n    def __init__(self):\n        self.items = []\n\n    def push(self, item):\n",
    "# How to reverse a linked list in Python\n\nclass Node:\n",
)


@cache
def folder() -> "tempfile.TemporaryDirectory[str]":
    """Return where a random model lies until the script ends."""
    return tempfile.TemporaryDirectory()


def file_of(run: Any) -> Path:
    """Return the model's file; where none was given, one with random weights, written once."""
    if run.options.model is not None:
        return Path(run.options.model)
    path = Path(folder().name) / "random.gguf"
    if not path.exists():
        from tests.backend.tiny_models import Sizes, decoder

        shape = run.shape
        sizes = Sizes(
            layers=shape.layers, width=shape.embedding, inner=shape.feed_forward, heads=shape.heads,
            kv_heads=shape.kv_heads, head=shape.head_size, is_tied=True, fillers=shape.vocabulary - 258, context=32768,
        )  # fmt: skip
        decoder(path, "qwen2", sizes, halved)
    return path


def halved(_: str, weight: Any) -> tuple[int, bytes]:
    """Return a tensor as GGUF holds it: matrices in F16, vectors in F32."""
    return (0, weight.astype("<f4").tobytes()) if weight.ndim == 1 else (1, weight.astype("<f2").tobytes())


def engine_first_token(run: Any) -> Iterator[Row]:
    """A warm session in an engine of this process, tokens in, until the first token's event."""
    from firesteel.bench.conversation import source

    run.release()
    with running_engine(run) as worker:
        tokens = worker.backend.tokenizer.encode(source()[: 16 * (run.history + ROOM)], special=False)
        known, rest = tokens[: run.history], tokens[run.history :]
        turn(worker, known)
        taken, computed = [], []
        for number in range(UNCOUNTED + run.repeats):
            known = known + rest[number * NEW : (number + 1) * NEW]
            seconds, usage = turn(worker, known)
            taken.append(1e3 * seconds)
            computed.append(usage.num_prompt_tokens - usage.num_cached_tokens)
    yield first_row("engine", run, taken, computed)


@contextmanager
def running_engine(run: Any) -> "Iterator[EngineWorker]":
    """Run an engine on a thread of this process until the block ends."""
    from firesteel.backend import open_backend
    from firesteel.config import EngineConfig
    from firesteel.engine.worker import EngineWorker

    config = EngineConfig(backend="cuda", model=str(file_of(run)), context_tokens=run.history + ROOM)
    worker = EngineWorker(open_backend(config), config)
    worker.start()
    try:
        yield worker
    finally:
        worker.close()


def turn(worker: "EngineWorker", tokens: list[int]) -> tuple[float, Any]:
    """Ask for one token after `tokens`; return the seconds until it came, and the usage."""
    from firesteel.types import Failure, Finish, Sampling, Work

    events: queue.SimpleQueue[tuple[float, Event]] = queue.SimpleQueue()
    work = Work(id="turn", tokens=tokens, sampling=Sampling(temperature=0.0), max_tokens=1)
    started = time.perf_counter()
    worker.add(work, lambda event: events.put((time.perf_counter(), event)))
    while True:
        stamp, event = events.get(timeout=300)
        if isinstance(event, Failure):
            raise RuntimeError(event.message)
        if isinstance(event, Finish):
            return stamp - started, event.usage


def first_row(through: str, run: Any, taken: list[float], computed: list[int]) -> Row:
    """Return the row of the first token of follow-ups; the first ones do not count."""
    return {
        "what": f"first token, warm, {NEW} new after {run.history}, through {through}",
        "value": statistics.median(taken[UNCOUNTED:]),
        "unit": "ms",
        "tokens computed": statistics.median(computed[UNCOUNTED:]),
        "worst": max(taken[UNCOUNTED:]),
    }


@contextmanager
def serving(run: Any, context: int, *arguments: str, name: str = "ours") -> "Iterator[tuple[Subject, Side]]":
    """Run `firesteel serve --backend cuda` as a process until the block ends."""
    from firesteel.bench import sides
    from firesteel.bench.subject import Subject

    run.release()
    subject = Subject(file_of(run))
    options = ["--backend", "cuda", "--context", str(context), *arguments]
    with sides.ours(subject, options, {"FIRESTEEL_TORCH_DEVICE": str(run.device)}, name=name) as side:
        yield subject, side


def http_first_token(run: Any) -> Iterator[Row]:
    """The same through `firesteel serve` on the loopback, as chat: text in, until the first event with text."""
    from firesteel.bench.conversation import Conversation, text_of

    with serving(run, run.history + ROOM) as (subject, side):
        conversation = Conversation.about(text_of(subject.tokenizer, run.history))
        conversation.assistant(side.ask(conversation, 8).text)
        taken, computed, size = [], [], NEW
        for number in range(UNCOUNTED + run.repeats):
            conversation.user(text_of(subject.tokenizer, size, skip=run.history + number * NEW))
            answer = side.ask(conversation, 8)
            conversation.assistant(answer.text)
            taken.append(1e3 * answer.first)
            computed.append(answer.num_prompt_tokens - answer.num_cached_tokens)
            if not number:  # what the template adds is new, too
                size = max(1, 2 * NEW - computed[0])
    yield first_row("HTTP", run, taken, computed)


def edits(run: Any) -> Iterator[Row]:
    """The product's own edits of real files through `firesteel serve`, `prediction` sent, with drafts and without."""
    from firesteel.bench import speculation, suite

    if run.options.model is None and not run.is_tiny:
        yield {"what": "edits of real files", "skipped": "random weights repeat nothing; give --model FILE.gguf"}
        return
    tasks = sorted(suite.tasks("edits", 24 if run.is_tiny else None), key=lambda task: len(task.prediction))
    tasks = tasks[:1] if run.is_tiny else tasks
    runs = [*ask_all(run, tasks, speculation.OURS), *ask_all(run, tasks, speculation.PLAIN, "--drafters", "none")]
    kind = "edit" if run.options.model else "edit asked of random weights"
    for task in tasks:
        mine = [one for one in runs if one.task.name == task.name]
        yield edit_row(f"{kind}: {task.name}", mine)
    yield edit_row(f"{kind}: all {len(tasks)}", runs)


def ask_all(run: Any, tasks: list[Any], name: str, *arguments: str) -> list[Any]:
    """Return the answers of one server to all tasks, the first one asked twice: graphs are captured meanwhile."""
    from firesteel.bench import client, drafts
    from firesteel.bench.conversation import PATH

    with serving(run, drafts.CONTEXT, *arguments, name=name) as (subject, side):
        if not run.is_tiny:
            client.ask(side.server.port, PATH, drafts.body(side, tasks[0]))
        return [drafts.ask(side, task, 1, subject) for task in tasks]


def edit_row(what: str, runs: list[Any]) -> Row:
    """Return the row of some edits."""
    from firesteel.bench import speculation

    ours, plain = (speculation.rate(speculation.of(runs, side)) for side in (speculation.OURS, speculation.PLAIN))
    same = f"{speculation.num_same(runs, speculation.PLAIN)} of {len(runs) // 2}"
    return {"what": what, "value": ours, "unit": "tokens/s", "times plain": ours / plain, "same text as plain": same}


def agreement(run: Any) -> Iterator[Row]:
    """Greedy text against libllama's on the same file, token by token along libllama's; what differs must be a tie."""
    from firesteel.backend import open_backend
    from firesteel.config import EngineConfig

    run.release()
    count = 12 if run.is_tiny else 64
    both = []
    for backend in ("cuda", "llamacpp"):
        config = EngineConfig(backend=backend, model=str(file_of(run)), context_tokens=1024, cache_bytes=0)
        both.append(open_backend(config))
    ours, theirs = both
    try:
        for number, text in enumerate(PROMPTS[:2] if run.is_tiny else PROMPTS, 1):
            yield agreement_row(number, theirs.tokenizer.encode(text, special=False), count, ours, theirs)
    finally:
        ours.close()
        theirs.close()


def agreement_row(number: int, prompt: list[int], count: int, ours: "Backend", theirs: "Backend") -> Row:
    """Return the row of a prompt: the tokens until greedy texts differ, and each place where another token is best."""
    logits: list[Any] = []
    expected = said(theirs, prompt, count, logits)
    found = said(ours, prompt, count, following=expected)
    apart = [at for at in range(count) if found[at] != expected[at]]
    gaps = [float((logits[at][expected[at]] - logits[at][found[at]]) / logits[at].std()) for at in apart]
    piece = theirs.tokenizer.piece
    named = [f"token {at}: {piece(found[at])!r} for {piece(expected[at])!r}, {gap:.3f} of spread below"
             for at, gap in zip(apart, gaps, strict=True)]  # fmt: skip
    return {
        "what": f"greedy text as libllama's, prompt {number}",
        "value": apart[0] if apart else count,
        "unit": f"of {count}",
        "ok": all(gap <= TIE for gap in gaps),
        "ties": named,
    }


def said(
    backend: "Backend",
    prompt: list[int],
    count: int,
    logits: list[Any] | None = None,
    following: list[int] | None = None,
) -> list[int]:
    """Return the best token at `count` places, each a step: of its own text, or along `following`. Fills `logits`."""
    from firesteel.backend.base import Rows, Want

    best: list[int] = []
    new, position = prompt, 0
    for at in range(count):
        backend.submit([Rows(0, position, new, Want.BEST if logits is None else Want.LOGITS)])
        (output,) = backend.wait()
        if logits is not None:
            logits.append(output.logits[0].copy())
        best.append(output.tokens[0] if logits is None else int(np.argmax(logits[-1])))
        position, new = position + len(new), [following[at] if following else best[-1]]
    backend.trim(0, 0)
    return best
