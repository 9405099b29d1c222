"""The drafter `model`: a smaller model with the same vocabulary guesses, beside the target or before it.

Its best tokens are proposed, and compared with what the target chooses, greedy or sampled; so the output has the
target's distribution whatever is proposed (arXiv 2211.17192 accepts more, but needs all of both distributions).
"""

from collections.abc import Callable
from weakref import WeakValueDictionary

import msgspec

from firesteel.backend import model_info, open_backend
from firesteel.backend.base import Backend
from firesteel.config import EngineConfig
from firesteel.engine.draft.ahead import DraftThread
from firesteel.engine.draft.base import Draft, Evidence
from firesteel.engine.draft.lines import Line
from firesteel.engine.draft.modes import Mode, Modes
from firesteel.engine.draft.outcomes import Limits
from firesteel.errors import ConfigError, FiresteelError
from firesteel.machine import num_cores
from firesteel.types import Tokenizer

SLOTS = 4  # sequences that are drafted for at a time
MAX_PATH = 16  # rows of one step of the draft model that may have an output
MAX_PADDING = 128  # by so much vocabularies of one family differ in size: rows that stand for no token
SAMPLE = 97  # every so many-th token of both vocabularies is compared

AHEAD = Limits(depth=12, width=2, min_chance=0.02)  # what lies deeper can be prepared during the next step
AHEAD_NODES = 48  # prepared in one step of the target at most
WAIT_TOKENS, WAIT_CHANCE = 8, 0.3  # drafted while the engine waits: at most, and while all are right so likely
WAIT_SECONDS = 0.5  # the engine never waits longer in one step
READ_SECONDS = 0.25  # the same, while a prompt is read
READING = Limits(depth=1, width=1, min_chance=0.0)  # what is known, and no more
READY_LAG = 32  # known tokens that may be missing in the draft model's KV before it counts as reading


class ModelDrafting:
    """Drafting by a model for all sequences: which mode, what it yielded. Owned by the engine's thread."""

    def __init__(self, thread: DraftThread, end_tokens: frozenset[int], now: Callable[[], float]) -> None:
        self.thread = thread
        self._end_tokens = end_tokens
        self._now = now
        self._drafters: WeakValueDictionary[str, ModelDrafter] = WeakValueDictionary()  # each is its sequence's
        self._modes = [Modes() for _ in range(thread.num_slots)]  # by number of streams
        self.fixed: Mode | None = None  # instead of what is found out, for tests and benchmarks
        self.mode: Mode = "off"  # of this step
        self.is_ready = True  # no drafter is still reading
        self.num_hits = self.num_misses = 0  # proposals asked for in mode `ahead`, prepared or not
        self.waited_seconds = 0.0  # of the engine, in all
        self._num_streams = self._num_expected = self._num_tokens = 0
        self._began = self._ended = 0.0

    def drafter(self, id: str, tokens: list[int]) -> "ModelDrafter":
        """Return the drafter of the sequence `id`, which begins with the prompt `tokens`."""
        drafter = self._drafters[id] = ModelDrafter(self, Line(tokens, self._end_tokens), len(tokens))
        return drafter

    def begin(self, num_streams: int) -> Mode:
        """Begin a step of `num_streams` streams: learn from the one before, choose the mode and return it."""
        if self._num_tokens and self._num_streams <= len(self._modes) and self.fixed is None:
            seconds = self._ended - self._began
            self._modes[self._num_streams - 1].observe(self._num_tokens, seconds, is_ready=self.is_ready)
        self._num_streams = self._num_expected = num_streams
        self._num_tokens, self.is_ready = 0, True
        self._began = self._now()
        has_room = num_streams <= len(self._modes) and not self.thread.is_off
        self.mode = (self.fixed or self._modes[num_streams - 1].mode) if has_room else "off"
        return self.mode

    def prepare(self, id: str, draft: Draft | None, chances: list[float]) -> None:
        """Let the drafter of `id` go on while `draft` is verified; see `ModelDrafter.prepare`."""
        drafter = self._drafters.get(id)
        if drafter is not None:
            drafter.prepare(draft, chances)

    def learn(self, num_tokens: int) -> None:
        """Take in that the step has yielded tokens for one more stream."""
        if self._num_expected:  # else the step computes prompts, too: it says nothing of the modes
            self._num_expected -= 1
            self._num_tokens += num_tokens
            self._ended = self._now()

    def waiting(self, wait: Callable[[], None]) -> None:
        """Call `wait`, counting the time."""
        started = self._now()
        wait()
        self.waited_seconds += self._now() - started

    def close(self) -> None:
        """Free the draft model and end its thread."""
        self.thread.close()


class ModelDrafter:
    """Proposes the best path that the draft model has computed; see `draft.base.Drafter`."""

    source = "model"

    def __init__(self, drafting: ModelDrafting, line: Line, num_prompt: int) -> None:
        self._drafting, self._thread = drafting, drafting.thread
        self._line, self._num_prompt = line, num_prompt

    def propose(self, max_tokens: int) -> Draft | None:
        """Return what is prepared, on a miss nothing; in mode `wait` what can be computed in a bounded time."""
        mode = self._drafting.mode
        if mode == "off" or not self._thread.claim(self._line):
            self._thread.pause(self._line)
            return None
        if self._thread.lag(self._line) > READY_LAG:
            self._drafting.is_ready = False
            self._read(mode)
            return None
        if mode == "wait":
            self._drafting.waiting(lambda: self._wait(min(max_tokens, WAIT_TOKENS)))
        found = self._thread.best(self._line, max_tokens)
        self._drafting.num_hits += mode == "ahead" and bool(found)
        self._drafting.num_misses += mode == "ahead" and not found
        evidence: list[Evidence] = [min(9, int(10 * chance)) for _, chance in found]
        return Draft(self.source, [token for token, _ in found], evidence) if found else None

    def _read(self, mode: Mode) -> None:
        """Let the draft model read what is known; cores that it would share are left to it for a while."""
        self._thread.grow(self._line, READING, count=1)
        if mode == "wait":
            self._drafting.waiting(lambda: self._thread.wait(self._line, READ_SECONDS))
            self._thread.pause(self._line)

    def _wait(self, count: int) -> None:
        self._thread.grow(self._line, Limits(depth=count, width=1, min_chance=WAIT_CHANCE), count)
        self._thread.wait(self._line, WAIT_SECONDS)
        self._thread.pause(self._line)

    def prepare(self, draft: Draft | None, chances: list[float]) -> None:
        """Let the draft model go on from each likely outcome of the step that verifies `draft` now.

        `chances`: of each of its tokens, all before it being right.
        """
        if self._drafting.mode == "ahead" and self._line.slot is not None:
            tokens = draft.tokens if draft is not None else []
            self._thread.grow(self._line, AHEAD, AHEAD_NODES, zip(tokens, chances, strict=True))

    def accept(self, tokens: list[int]) -> None:
        """Take in output tokens."""
        self._thread.accept(self._line, tokens)

    def rewind(self, output: list[int]) -> None:
        """Go back to where the output was `output`."""
        self._thread.rewind(self._line, self._num_prompt, output)


def open_model(config: EngineConfig, target: Backend, now: Callable[[], float]) -> ModelDrafting | None:
    """Load the draft model that `config` names, None when it names none.

    Raises ConfigError, ModelError: it is not here, does not fit into memory, or has another vocabulary.
    """
    name = config.draft_model
    if name is None:
        return None
    if "model" not in config.drafters:
        raise ConfigError("--draft-model needs `model` among the --drafters: name it there, or leave the model out")
    try:
        backend = open_backend(draft_config(config, target.capabilities.num_cells))
    except FiresteelError as error:
        raise type(error)(f"--draft-model {name}: {error.message}") from None
    problem = why_not(target, backend)
    if problem is not None:
        backend.close()
        raise ConfigError(f"--draft-model {name}: {problem}")
    tokenizer = target.tokenizer
    return ModelDrafting(DraftThread(backend, tokenizer.vocabulary_size), tokenizer.end_tokens, now)


def draft_config(config: EngineConfig, num_cells: int) -> EngineConfig:
    """Return the configuration of the draft backend beside a target of `num_cells` cells.

    `cache_bytes` is the target's: memory is checked once more for the draft model, against what the target has
    left, and the cache of idle conversations is not filled yet. A scripted target has a scripted draft model,
    whose script the option names.
    """
    common = EngineConfig(
        backend=config.backend,
        drafters=("model",),
        max_draft=MAX_PATH,
        max_live=SLOTS,
        chunk_tokens=config.chunk_tokens,
        kv_type=config.kv_type,
        num_threads=spare_threads(config),
        cache_bytes=config.cache_bytes,
    )
    name = config.draft_model
    assert name is not None
    if config.backend == "scripted":
        return msgspec.structs.replace(common, script=name, context_tokens=num_cells)
    alone = msgspec.structs.replace(common, model=name)
    return msgspec.structs.replace(alone, context_tokens=min(num_cells, model_info(alone).context_length))


def spare_threads(config: EngineConfig) -> int | None:
    """Return the cores that the target leaves where it was told how many to take; else None, all of them."""
    spare = num_cores() - (config.num_threads or 0)
    return spare if config.num_threads and spare > 0 else config.num_threads


def why_not(target: Backend, draft: Backend) -> str | None:
    """Return why `draft` cannot draft for `target`, and the remedy; None when it can."""
    for backend in (target, draft):
        if not backend.capabilities.can_trim:
            return f"{backend.info.name} cannot take guesses back (recurrent or sliding window); start without it"
    if not is_same_vocabulary(target.tokenizer, draft.tokenizer):
        return (
            f"its vocabulary is not that of {target.info.name}, so its tokens mean something else; "
            "take a smaller model of the same family, or start without it"
        )
    return None


def is_same_vocabulary(one: Tokenizer, other: Tokenizer) -> bool:
    """Return whether a token means the same to both: size up to padding, end tokens, a sample of the pieces."""
    size = min(one.vocabulary_size, other.vocabulary_size)
    if abs(one.vocabulary_size - other.vocabulary_size) > MAX_PADDING or one.end_tokens != other.end_tokens:
        return False
    return all(one.label(token) == other.label(token) for token in (*range(0, size, SAMPLE), *sorted(one.end_tokens)))
