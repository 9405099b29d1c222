"""Speculative decoding on the suites `edits`, `fresh`, `agent` and `json`: ours, ours without drafts, and the peer.

All servers are up at once and one at a time is asked. They are started anew for each pair: a drafter that
remembers what was said before, theirs as well as ours, would know the answers of the pair before by heart.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any

import msgspec

from firesteel.bench import client, roofline, sides, speculation, suite
from firesteel.bench.conversation import PATH
from firesteel.bench.options import Kind, Options
from firesteel.bench.progress import Step, steps
from firesteel.bench.report import Measurement
from firesteel.bench.roofline import Ceiling
from firesteel.bench.sides import Side
from firesteel.bench.speculation import FREE, OURS, PLAIN, Run, Runs
from firesteel.bench.subject import Subject
from firesteel.bench.suite import Task

CONTEXT = 8_192
SPECULATIVE = "speculative.types"  # of the peer's parameters
PEERS: dict[str, dict[str, Any]] = {
    "peer": {},
    "ngram_mod": {SPECULATIVE: ["COMMON_SPECULATIVE_TYPE_NGRAM_MOD"]},
    "ngram_simple": {SPECULATIVE: ["COMMON_SPECULATIVE_TYPE_NGRAM_SIMPLE"]},
}
PEERS_OF: dict[Kind, tuple[str, ...]] = {  # those that may be the best: `ngram_mod` was, for text that is quoted
    "edits": ("peer", "ngram_mod", "ngram_simple"),
    "fresh": ("peer",),
    "agent": ("peer", "ngram_mod"),
    "json": ("peer",),
}
TARGETS: dict[Kind, str] = {
    "edits": "≥ 1.25 × the best peer, ≥ 1.9 × plain",
    "fresh": "≥ 0.97 × plain on the worst task, > 1 on average",
    "agent": "≥ 1.25 × the best peer",
    "json": "record ≥ 1.4 × free, no task slower than plain",
}


class Costs(msgspec.Struct, frozen=True):
    """Seconds that our engine spent on drafting, and what it thinks that a step costs, by its rows."""

    draft_seconds: float = 0.0
    step_seconds: dict[str, float] = {}


def measure(options: Options, subject: Subject) -> Measurement:
    """Ask every server every task of the suite, `options.pairs` times. Raises `ConfigError` or `EngineFailure`."""
    tasks = suite.tasks(options.kind, options.num_tokens(0) or None)
    top = roofline.decode_ceiling(subject.header, subject.num_threads) if subject.header is not None else None
    num_sides = 2 + (options.kind == "json") + (len(peers_of(options.kind)) if options.with_peer else 0)
    runs: list[Run] = []
    costs: list[Costs] = []
    with steps(options.pairs * len(tasks) * num_sides) as step:
        for pair in range(1, options.pairs + 1):
            found, cost = one_pair(options, subject, tasks, pair, step)
            runs += found
            costs.append(cost)
    return summary(options.kind, runs, costs, top)


def one_pair(
    options: Options, subject: Subject, tasks: Sequence[Task], pair: int, step: Step
) -> tuple[list[Run], Costs]:
    """Start the servers, warm them up, and ask each task of each of them."""
    runs = []
    with all_sides(options, subject) as found:
        for side in found:
            client.ask(side.server.port, PATH, suite.WARM_UP.body(side.model_id, says_prediction=False))
        before = draft_seconds(found[0])
        for number, task in enumerate(tasks, pair):
            for side in found if number % 2 else reversed(found):
                step(f"pair {pair}, {task.name}: {side.name}")
                runs.append(ask(side, task, pair, subject))
        return runs, Costs(draft_seconds(found[0]) - before, found[0].server.verify_seconds())


@contextmanager
def all_sides(options: Options, subject: Subject) -> Iterator[list[Side]]:
    """Run ours, ours without drafts and the peer in each of its settings until the block ends; ours comes first."""
    arguments = ["--context", str(CONTEXT)]
    with ExitStack() as stack:
        found = [
            stack.enter_context(sides.ours(subject, arguments)),
            stack.enter_context(sides.ours(subject, [*arguments, "--drafters", "none"], name=PLAIN)),
        ]
        if options.kind == "json":
            found.append(Side(FREE, found[-1].model_id, found[-1].server))
        for name in peers_of(options.kind) if options.with_peer else ():
            settings = {"n_ctx": CONTEXT} | PEERS[name]
            found.append(stack.enter_context(sides.theirs(subject, settings, name=name)))
        yield found


def peers_of(kind: Kind) -> tuple[str, ...]:
    """Return the settings of the peer that a suite is asked of."""
    return PEERS_OF[kind]


def ask(side: Side, task: Task, pair: int, subject: Subject) -> Run:
    """Have the prompt computed, measure when its first token comes, and ask the task."""
    port = side.server.port
    client.ask(port, PATH, task.opening(side.model_id))
    single = client.ask(port, PATH, task.opening(side.model_id))
    answer = client.ask(port, PATH, body(side, task))
    num_tokens = len(subject.tokenizer.encode(answer.text, special=False))
    return Run(side=side.name, pair=pair, task=task, single=single, answer=answer, num_tokens=num_tokens)


def body(side: Side, task: Task) -> dict[str, Any]:
    """Return what a side is asked. The peer is not told the prediction: it does not know the field."""
    asked = msgspec.structs.replace(task, schema=None) if side.name == FREE else task
    return asked.body(side.model_id, says_prediction=side.name in (OURS, PLAIN))


def draft_seconds(side: Side) -> float:
    """Return what a server of ours has spent on drafting so far."""
    return side.server.engine().get("draft_seconds", 0.0)


def summary(kind: Kind, runs: Runs, costs: Sequence[Costs], top: Ceiling | None) -> Measurement:
    """Return the report's part. `costs`: those of each pair; `top`: what one token a step could reach."""
    ours, best = speculation.rates(runs, OURS), speculation.best_peer(runs)
    factor = speculation.tokens_a_step(runs)
    return Measurement(
        workload=suite.title(kind),
        unit="tokens/s",
        ours=ours,
        theirs=speculation.rates(runs, best) if best is not None else [],
        ceiling=ceiling(top, factor, median(ours)),
        details=details(kind, runs, costs),
    )


def ceiling(top: Ceiling | None, factor: float, ours: float) -> Ceiling:
    """Return the roofline of one token a step, times the tokens a step."""
    if top is None:
        return Ceiling(ours, "no weights: our own code alone")
    return Ceiling(top.value * factor, f"{top.what}, × {factor:.2f} tokens a step")


def details(kind: Kind, runs: Runs, costs: Sequence[Costs]) -> dict[str, Any]:
    """Return the ratios, what the drafts did, and a table by server, task and source."""
    by_task = speculation.rows_by(runs, "task", lambda task: task.name)
    by_group = speculation.rows_by(runs, "group", lambda task: task.group)
    best = speculation.best_peer(runs)
    ratios = {
        "ratio_to_plain_median": median(speculation.ratios(runs, OURS, PLAIN)),
        "ratio_to_plain_by_task": speculation.over_tasks(by_task, "by_plain"),
    }
    if kind == "json":
        ratios["ratio_to_free_by_task"] = speculation.over_tasks(by_task, "by_free")
    if best is not None:
        ratios |= {"best_peer": best, "ratio_to_best_peer_by_task": speculation.over_tasks(by_task, "by_best")}
    tables = {
        "by_server": [speculation.side_row(runs, side) for side in speculation.sides_of(runs)],
        "by_task": by_task,
        "by_group": by_group if len(by_group) < len(by_task) else [],
        "by_source": speculation.source_rows(runs),
    }
    found = {"target": TARGETS[kind]} | ratios | speculation.totals(runs) | drafting(runs, costs)
    return found | {name: rows for name, rows in tables.items() if rows}


def drafting(runs: Runs, costs: Sequence[Costs]) -> dict[str, Any]:
    """Return what drafting took a step, and what a step of so many rows was thought to cost in the end."""
    num_steps = sum(speculation.speculation_of(run.answer).steps for run in speculation.of(runs, OURS))
    seconds = sum(cost.draft_seconds for cost in costs)
    curve = sorted(costs[-1].step_seconds.items(), key=lambda item: float(item[0]))
    return {
        "draft_microseconds_a_step": seconds / num_steps * 1e6,
        "step_ms_by_rows": {rows: cost * 1e3 for rows, cost in curve},
    }
