"""Steps of few rows, and prefill, of kernels alone: ours, llama.cpp's and ik_llama.cpp's, in turns.

Every side is a process that holds the model and one sequence; one at a time runs (`bench.step_child`). All rows of
a step are wanted, as in verification. A history is computed once on each side and trimmed back to from then on.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from typing import Any

import msgspec

from firesteel.bench import ik_environment, step_child, step_report
from firesteel.bench.conversation import source
from firesteel.bench.options import Options, Span
from firesteel.bench.progress import Step, steps
from firesteel.bench.report import Measurement
from firesteel.bench.sides import in_turns
from firesteel.bench.step_child import Child
from firesteel.bench.step_report import OURS, Cell, Limits
from firesteel.bench.subject import Subject
from firesteel.errors import ConfigError

ROWS = (1, 2, 4, 8, 16, 32)
HISTORIES = (128, 4_096, 8_192)
PREFILLS = (Span(0, 512), Span(7_700, 8_200))
RUNS = 3  # timed steps of one turn
FILL_TOKENS = 512  # of a history between two signs of life
CELL_PADDING = 256
USUAL_CHUNK = 64  # rows of one batch that every backend takes
IK = "ik"
TOKEN_BYTES = 8  # source code of so many bytes a token is always enough

Stop = Span | int  # a prefill, or a history for steps


class Plan(msgspec.Struct, frozen=True):
    """What is measured. `sides`: ours first."""

    rows: tuple[int, ...]
    histories: tuple[int, ...]
    prefills: tuple[Span, ...]
    pairs: int
    sides: tuple[str, ...]

    @property
    def stops(self) -> list[Stop]:
        """Prefills and histories in the order in which least must be computed."""
        return sorted([*self.prefills, *self.histories], key=begin)

    @property
    def fills(self) -> list[list[int]]:
        """The lengths that a history passes on the way to each stop."""
        lengths = [0, *(stop.end if isinstance(stop, Span) else stop for stop in self.stops)]
        ends = zip(lengths, map(begin, self.stops), strict=False)
        return [[*range(length + FILL_TOKENS, end, FILL_TOKENS), end] for length, end in ends]

    @property
    def num_tokens(self) -> int:
        """How long a sequence gets at most."""
        ends = [history + max(self.rows) for history in self.histories]
        return max([*ends, *(span.end for span in self.prefills)])

    @property
    def num_announced(self) -> int:
        """How often progress is announced."""
        turns = self.pairs * (len(self.histories) * len(self.rows) + len(self.prefills))
        return len(self.sides) * (1 + sum(map(len, self.fills)) + turns)


def begin(stop: Stop) -> int:
    """Return the history that a stop begins with."""
    return stop.start if isinstance(stop, Span) else stop


def plan_of(options: Options, trained: int) -> Plan:
    """Return what `options` ask for; what they leave open is cut to the model's context.

    Raises `ConfigError` where they ask for more than that.
    """
    rows = options.rows or ROWS
    histories = options.histories or tuple(one for one in HISTORIES if one + max(rows) <= trained)
    longest = max(histories, default=0)
    prefills = options.prefills or tuple(span for span in PREFILLS if span.end <= min(trained, longest + USUAL_CHUNK))
    plan = Plan(rows, histories, prefills, options.pairs, (OURS, *options.kernels))
    if plan.num_tokens > trained:
        raise ConfigError(f"--history and --prefill reach {plan.num_tokens} tokens; the model was trained on {trained}")
    return plan


def measure(options: Options, subject: Subject) -> Measurement:
    """Measure every cell on every side. Raises `ConfigError`, `ModelError` or `EngineFailure`."""
    plan, limits = plan_of(options, subject.trained_context), Limits(subject)
    text = tokens(subject, plan.num_tokens)
    with steps(plan.num_announced) as step, children(options, subject, plan, step) as sides:
        for side in sides:
            side.ask("tokens", tokens=text)
        stops = zip(plan.stops, plan.fills, strict=True)
        cells = list(chain.from_iterable(at(stop, ends, sides, plan, limits, step) for stop, ends in stops))
        return step_report.summary(cells, limits, sides)


def tokens(subject: Subject, count: int) -> list[int]:
    """Return `count` tokens of source code, the same for every side."""
    return subject.tokenizer.encode(source()[: count * TOKEN_BYTES], special=False)[:count]


@contextmanager
def children(options: Options, subject: Subject, plan: Plan, step: Step) -> Iterator[list[Child]]:
    """Run every side until the block ends."""
    with ExitStack() as stack:
        found = []
        for side in plan.sides:
            is_new = side == IK and not ik_environment.is_ready()
            step(f"starting: {side}{f' (pip installs {ik_environment.REQUIREMENT} first, once)' if is_new else ''}")
            command, env = command_of(side, options, subject, plan)
            found.append(stack.enter_context(step_child.running(side, command, env)))
        yield found


def command_of(side: str, options: Options, subject: Subject, plan: Plan) -> tuple[list[str], dict[str, str] | None]:
    """Return command line and environment of a side; makes what `ik` lives in when it is not there yet."""
    context = -(-plan.num_tokens // CELL_PADDING) * CELL_PADDING
    if side == IK:
        python = str(ik_environment.python())
        return step_child.ik_command(python, str(subject.path), context, subject.num_threads), ik_environment.environ()
    most = max(plan.rows)
    settings: dict[str, Any] = {"context_tokens": context, "max_live": 1, "max_draft": most, "cache_bytes": 0}
    if most > USUAL_CHUNK:
        settings["chunk_tokens"] = most
    if subject.path is not None:
        settings["backend"] = options.backend if side == OURS else side
    return step_child.ours_command(subject.engine_config(**settings)), None


def at(stop: Stop, ends: list[int], sides: Sequence[Child], plan: Plan, limits: Limits, step: Step) -> Iterator[Cell]:
    """Yield what is measured at one stop: one prefill, or a step of each number of rows on one history."""
    for side in sides:
        for end in ends:
            step(f"{side.side}: {end:,} of {ends[-1]:,} tokens of history")
            side.fill(end)
    if isinstance(stop, Span):
        yield prefill(stop, sides, plan.pairs, step)
        return
    for rows in plan.rows:
        limits.observe(stop)
        yield few_rows(stop, rows, sides, plan.pairs, step)


def prefill(span: Span, sides: Sequence[Child], pairs: int, step: Step) -> Cell:
    """Time one prefill on each side, in turns."""
    seconds: dict[str, list[float]] = {side.side: [] for side in sides}
    for pair, side in in_turns(pairs, sides):
        step(f"pair {pair}, tokens {span}: {side.side}")
        side.fill(span.start)
        seconds[side.side].append(side.fill(span.end))
    return Cell(history=span.start, rows=span.end - span.start, is_prefill=True, seconds=seconds)


def few_rows(history: int, rows: int, sides: Sequence[Child], pairs: int, step: Step) -> Cell:
    """Time steps of `rows` rows on each side, in turns; the best of a turn counts: what disturbs only adds."""
    seconds: dict[str, list[float]] = {side.side: [] for side in sides}
    read: int | None = None
    for pair, side in in_turns(pairs, sides):
        step(f"pair {pair}, {rows} rows at {history:,} tokens: {side.side}")
        found = side.ask("step", rows=rows, runs=RUNS)
        seconds[side.side].append(min(found["seconds"]))
        if side is sides[0]:
            read = found["bytes"]
    return Cell(history=history, rows=rows, is_prefill=False, seconds=seconds, bytes_read=read)
