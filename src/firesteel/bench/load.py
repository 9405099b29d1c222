"""From the start of a server's process to its first token, with everything in the operating system's memory.

Each server was started once before, so our packed copy of the weights exists and the files are in the page
cache. Only one server runs at a time. Floor: reading once what a step reads, at the bandwidth of memory.
"""

import time
from statistics import median
from typing import Any

import msgspec

from firesteel import machine
from firesteel.bench import sides
from firesteel.bench.client import Answer
from firesteel.bench.conversation import Conversation
from firesteel.bench.options import Options
from firesteel.bench.progress import steps
from firesteel.bench.report import Measurement
from firesteel.bench.roofline import Ceiling
from firesteel.bench.subject import Subject

QUESTION = "Say hello."
TARGET = "≤ the peer's"


class Load(msgspec.Struct, frozen=True):
    """Seconds from the start of the process until it said that it is ready, and to its first token."""

    ready: float
    first_token: float


def measure(options: Options, subject: Subject) -> Measurement:
    """Start each server `options.pairs` times, after once that does not count."""
    bandwidth = machine.read_bandwidth(subject.num_threads)
    floor = Ceiling(
        subject.weight_bytes / bandwidth, f"the weights of one step read once at {bandwidth / 1e9:.1f} GB/s"
    )
    names = ["ours", "peer"] if options.with_peer else ["ours"]
    found: dict[str, list[Load]] = {name: [] for name in names}
    with steps(len(names) * (options.pairs + 1)) as step:
        for number, name in sides.in_turns(options.pairs + 1, names):
            step(f"start {number - 1}: {name}" if number > 1 else f"for the caches: {name}")
            one = load(subject, name)
            if number > 1:
                found[name].append(one)
    return Measurement(
        workload="start the server, warm page cache, until the first token",
        unit="s",
        ours=[one.first_token for one in found["ours"]],
        theirs=[one.first_token for one in found.get("peer", [])],
        ceiling=floor,
        details={"target": TARGET, "starts": [row(name, ones) for name, ones in found.items()]},
    )


def load(subject: Subject, name: str) -> Load:
    """Start one server, ask it for a token, end it."""
    conversation = Conversation([{"role": "user", "content": QUESTION}])
    begun = time.monotonic()
    with sides.ours(subject) if name == "ours" else sides.theirs(subject) as side:
        ready = time.monotonic() - begun
        asked = time.monotonic()
        answer: Answer = side.ask(conversation, 1)
        return Load(ready, asked - begun + answer.first)


def row(name: str, ones: list[Load]) -> dict[str, Any]:
    """Return the medians of one server's starts."""
    return {
        "server": name,
        "ready_s": median(one.ready for one in ones),
        "first_token_s": median(one.first_token for one in ones),
    }
