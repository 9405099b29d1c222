"""A server that is ended and started again: what does the same conversation cost then?

Twice in each pair: once ended by SIGTERM, which lets it put its things in order, once by SIGKILL some seconds
after the answer. A value is the time to the first token after the restart divided by that of the cold start.
Floor: the new tokens' share of the prompt. Loading the model is not part of it, and what the operating
system keeps of the files in memory stays there, as it does when a server is restarted.
"""

import tempfile
import time
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import median
from typing import Any, Literal

import msgspec

from firesteel.bench import sides
from firesteel.bench.client import Answer
from firesteel.bench.conversation import Conversation, follow_up, text_of
from firesteel.bench.options import Options
from firesteel.bench.progress import Step, steps
from firesteel.bench.report import Measurement
from firesteel.bench.roofline import Ceiling
from firesteel.bench.sides import Side
from firesteel.bench.subject import Subject
from firesteel.bench.ttft import known_tokens

HISTORY_TOKENS = 4_096
ANSWER_TOKENS = 8
DISK_MB = 4_000
SECONDS_BEFORE_KILL = 5.0
TARGET = "≥ 95 % of the tokens cached, time to first token ≤ 0.2 × cold"

Ending = Literal["stopped", "killed"]
ENDINGS: tuple[Ending, ...] = ("stopped", "killed")


class Restart(msgspec.Struct, frozen=True):
    """One conversation across a restart; `num_known` tokens had been computed before it."""

    ending: Ending
    cold: Answer
    warm: Answer
    num_known: int

    @property
    def ratio(self) -> float:
        """Time to the first token, by what it took cold."""
        return self.warm.first / self.cold.first

    @property
    def cached_share(self) -> float:
        """The part of the known tokens that did not have to be computed again."""
        return self.warm.num_cached_tokens / self.num_known

    @property
    def new_share(self) -> float:
        """The part of the second prompt that nobody can have computed before."""
        return 1 - self.num_known / self.warm.num_prompt_tokens


def measure(options: Options, subject: Subject) -> Measurement:
    """Restart each server `options.pairs` times each way; only one of them runs at a time."""
    num_tokens = options.num_tokens(HISTORY_TOKENS)
    names: list[Literal["ours", "peer"]] = ["ours", "peer"] if options.with_peer else ["ours"]
    found: dict[str, list[Restart]] = {name: [] for name in names}
    with steps(4 * len(names) * options.pairs) as step:
        for number in range(1, options.pairs + 1):
            code = text_of(subject.tokenizer, num_tokens, skip=number * num_tokens)
            for name in names if number % 2 else reversed(names):
                for ending in ENDINGS:
                    found[name].append(restart(subject, name, ending, code, step))
    return summary(num_tokens, found)


def restart(subject: Subject, name: Literal["ours", "peer"], ending: Ending, code: str, step: Step) -> Restart:
    """Ask, end the server, start it again and ask on; each time with a disk cache that was empty before."""
    conversation = Conversation.about(code)
    with tempfile.TemporaryDirectory() as home:
        with started(subject, name, Path(home)) as side:
            step(f"{name}: cold start, then {ending}")
            cold = side.ask(conversation, ANSWER_TOKENS)
            if ending == "killed":
                time.sleep(SECONDS_BEFORE_KILL)
                side.server.kill()
        conversation.assistant(cold.text)
        conversation.user(follow_up(1))
        with started(subject, name, Path(home)) as side:
            step(f"{name}: started again")
            return Restart(ending, cold, side.ask(conversation, ANSWER_TOKENS), known_tokens(cold))


def started(subject: Subject, name: Literal["ours", "peer"], home: Path) -> AbstractContextManager[Side]:
    """Return a running server; ours keeps its disk cache in `home`, the peer has none."""
    if name == "peer":
        return sides.theirs(subject)
    return sides.ours(subject, ["--disk-cache", str(DISK_MB)], {"FIRESTEEL_HOME": str(home)})


def summary(num_tokens: int, found: dict[str, list[Restart]]) -> Measurement:
    """Return the ratios, and a row for each server and way to end it."""
    new_share = median(one.new_share for one in found["ours"])
    rows = [row(name, ending, ones) for name, ones in found.items() for ending in ENDINGS if ones]
    return Measurement(
        workload=f"restart, then the same {num_tokens} tokens of history",
        unit="× cold time to first token",
        ours=[one.ratio for one in found["ours"]],
        theirs=[one.ratio for one in found.get("peer", [])],
        ceiling=Ceiling(new_share, "the new tokens' share of the prompt, at the speed of the cold prefill"),
        details={"target": TARGET, "restarts": rows},
    )


def row(name: str, ending: Ending, ones: list[Restart]) -> dict[str, Any]:
    """Return the medians of the restarts of one server that was ended in one way."""
    ones = [one for one in ones if one.ending == ending]
    return {
        "server": name,
        "ended_by": {"stopped": "SIGTERM", "killed": "SIGKILL"}[ending],
        "cold_ttft_ms": median(one.cold.first for one in ones) * 1e3,
        "warm_ttft_ms": median(one.warm.first for one in ones) * 1e3,
        "ratio": median(one.ratio for one in ones),
        "cached_share": median(one.cached_share for one in ones),
        "known_tokens": median(one.num_known for one in ones),
    }
