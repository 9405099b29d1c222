"""What drafts were worth: figures from the answers of several servers to the same requests.

The speed of an answer is its tokens but the first, by the time from where the first alone would have come to the
last. That moment is measured: each request is preceded by one for a single token of the same prompt. So it does
not matter how many tokens arrive with the first event, nor how long the prompt took.
"""

from collections.abc import Callable, Sequence
from statistics import mean, median
from typing import Any

import msgspec

from firesteel.bench.client import Answer
from firesteel.bench.suite import Task

OURS, PLAIN = "ours", "plain"
FREE = "free"  # plain without the schema: a grammar's forced tokens need no drafter, so plain has them, too
SIDES = (OURS, PLAIN, FREE, "peer", "ngram_mod", "ngram_simple")
SHORTEST_SECONDS = 1e-6  # the scripted model may say all of an answer at once


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One task asked of one server in one pair.

    `single`: the answer of one token to the same prompt, asked just before. `num_tokens`: of the answer's text,
    by the model's tokenizer: servers disagree on whether the end counts.
    """

    side: str
    pair: int
    task: Task
    single: Answer
    answer: Answer
    num_tokens: int

    @property
    def seconds(self) -> float:
        """The time that all tokens but the first took; without weights it may be shorter than the noise."""
        seconds = self.answer.last - self.single.first
        return seconds if seconds > 0 else max(self.answer.last - self.answer.first, SHORTEST_SECONDS)


Runs = Sequence[Run]


class Draft(msgspec.Struct, frozen=True):
    """What one source of drafts did for an answer: `types.DraftUsage` as our server writes it."""

    source: str
    steps: int
    drafted_tokens: int
    accepted_tokens: int


class Speculation(msgspec.Struct, frozen=True, kw_only=True):
    """What our server says about the steps of an answer."""

    steps: int
    forced_tokens: int = 0
    drafts: list[Draft] = []


def speculation_of(answer: Answer) -> Speculation:
    """Return what our server says about an answer; where it says nothing, each token was a step."""
    said = (answer.final.get("firesteel") or {}).get("speculation")
    return msgspec.convert(said, Speculation) if said else Speculation(steps=answer.num_tokens)


def sides_of(runs: Runs) -> list[str]:
    """Return the names of the servers that were asked, in the order of `SIDES`."""
    return sorted({run.side for run in runs}, key=SIDES.index)


def of(runs: Runs, side: str) -> list[Run]:
    """Return the runs of one server, by pair."""
    return sorted((run for run in runs if run.side == side), key=lambda run: run.pair)


def rates(runs: Runs, side: str) -> list[float]:
    """Return the tokens a second of a server over all tasks, for each pair."""
    mine = of(runs, side)
    pairs = dict.fromkeys(run.pair for run in mine)
    return [rate([run for run in mine if run.pair == pair]) for pair in pairs]


def rate(runs: Runs) -> float:
    """Return the tokens but the first ones, by the time that they took."""
    return sum(max(1, run.num_tokens - 1) for run in runs) / sum(run.seconds for run in runs)


def ratios(runs: Runs, side: str, other: str) -> list[float]:
    """Return how many times faster `side` was than `other`, for each pair."""
    return [mine / theirs for mine, theirs in zip(rates(runs, side), rates(runs, other), strict=True)]


def best_peer(runs: Runs) -> str | None:
    """Return the setting of the peer that was fastest over the suite, None without a peer."""
    peers = [side for side in sides_of(runs) if side not in (OURS, PLAIN, FREE)]
    return max(peers, key=lambda side: median(rates(runs, side)), default=None)


def num_same(runs: Runs, side: str) -> int:
    """Return in how many runs a server said what ours said."""
    said = {(run.pair, run.task.name): run.answer.text for run in of(runs, OURS)}
    return sum(said[run.pair, run.task.name] == run.answer.text for run in of(runs, side))


def tokens_a_step(runs: Runs) -> float:
    """Return the tokens that a step of ours yielded, those that a grammar forced among them."""
    mine = of(runs, OURS)
    return sum(run.answer.num_tokens for run in mine) / sum(speculation_of(run.answer).steps for run in mine)


def totals(runs: Runs) -> dict[str, Any]:
    """Return what our drafts did over all runs. Shares are of steps and of tokens."""
    mine = [(run.answer, speculation_of(run.answer)) for run in of(runs, OURS)]
    num_steps = sum(said.steps for _, said in mine)
    drafted = sum(draft.steps for _, said in mine for draft in said.drafts)
    forced = sum(said.forced_tokens for _, said in mine)
    return {
        "tokens_a_step": tokens_a_step(runs),
        "steps_with_a_draft": drafted / num_steps,
        "forced_tokens": forced / sum(answer.num_tokens for answer, _ in mine),
    }


def source_rows(runs: Runs) -> list[dict[str, Any]]:
    """Return what each source of drafts did for ours."""
    sums: dict[str, list[int]] = {}
    for run in of(runs, OURS):
        for draft in speculation_of(run.answer).drafts:
            counts = sums.setdefault(draft.source, [0, 0, 0])
            new = (draft.steps, draft.drafted_tokens, draft.accepted_tokens)
            counts[:] = [old + more for old, more in zip(counts, new, strict=True)]
    return [
        {
            "source": source,
            "steps": steps,
            "drafted": drafted,
            "accepted": accepted,
            "accepted_a_step": accepted / max(1, steps),
        }
        for source, (steps, drafted, accepted) in sums.items()
    ]


def side_row(runs: Runs, side: str) -> dict[str, Any]:
    """Return the medians of one server, by answer in seconds. Drafted and accepted is what it reports itself."""
    mine = of(runs, side)
    drafted, accepted = drafted_tokens([run.answer for run in mine])
    bound = [run for run in mine if run.task.schema is not None]
    validity = {"valid_json": f"{sum(is_json(run.answer.text) for run in bound)} of {len(bound)}"} if bound else {}
    return {
        "server": side,
        "tokens_per_second": median(rates(runs, side)),
        "ours_by_it": median(ratios(runs, OURS, side)),
        "ttft_ms": median(run.single.first for run in mine) * 1e3,
        "seconds": median(run.seconds for run in mine),
        "drafted": drafted,
        "accepted": accepted,
        "same_as_ours": f"{num_same(runs, side)} of {len(mine)}",
    } | validity


def is_json(text: str) -> bool:
    """Return whether a text is a JSON document."""
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError:
        return False
    return True


def drafted_tokens(answers: Sequence[Answer]) -> tuple[int, int]:
    """Return the tokens that were drafted and accepted, by our server's report or by the peer's."""
    ours = [draft for answer in answers for draft in speculation_of(answer).drafts]
    theirs = [answer.final.get("timings") or {} for answer in answers]
    return (
        sum(draft.drafted_tokens for draft in ours) + sum(said.get("draft_n", 0) for said in theirs),
        sum(draft.accepted_tokens for draft in ours) + sum(said.get("draft_n_accepted", 0) for said in theirs),
    )


def rows_by(runs: Runs, heading: str, key: Callable[[Task], str]) -> list[dict[str, Any]]:
    """Return a row for each task, or each group of tasks, as `key` has it."""
    names = dict.fromkeys(key(run.task) for run in runs)
    return [
        {heading: name} | figures([run for run in runs if key(run.task) == name], best_peer(runs)) for name in names
    ]


def figures(runs: Runs, best: str | None) -> dict[str, Any]:
    """Return tokens a second by server, what ours gained, its seconds, and whether plain said the same."""
    speeds = {side: median(rates(runs, side)) for side in sides_of(runs)}
    others = {"by_plain": PLAIN, "by_free": FREE if FREE in speeds else None, "by_best": best}
    return {
        **speeds,
        **{name: median(ratios(runs, OURS, other)) for name, other in others.items() if other is not None},
        "tokens_a_step": tokens_a_step(runs),
        "seconds": median(run.seconds for run in of(runs, OURS)),
        "same": num_same(runs, PLAIN) == len(of(runs, PLAIN)),
    }


def over_tasks(rows: list[dict[str, Any]], name: str) -> dict[str, float]:
    """Return the worst and the mean over tasks of a ratio."""
    values = [row[name] for row in rows]
    return {"worst": min(values), "mean": mean(values)}
