"""A client that leaves in the middle of a long prefill: how long until the engine serves the next one?

Both servers compute one sequence at a time here. In mid-prefill the connection is closed and a tiny request
sent at once; the time to its first token, less what it takes on an idle server, is what the cancellation
cost. Floor: what was computed is kept, so its KV is read and written once, at the memory's bandwidth.
"""

import time
from contextlib import closing
from statistics import median
from typing import Any

import msgspec

from firesteel import machine
from firesteel.bench import client, sides
from firesteel.bench.client import Connection
from firesteel.bench.conversation import PATH, Conversation, text_of
from firesteel.bench.options import Options
from firesteel.bench.progress import Step, steps
from firesteel.bench.report import Measurement
from firesteel.bench.roofline import Ceiling
from firesteel.bench.sides import Side
from firesteel.bench.subject import Subject
from firesteel.errors import EngineFailure

PROMPT_TOKENS = 8_192
SPEED_TOKENS = 256  # of the prompt that finds out how fast a server prefills
NUM_IDLE_PROBES = 5
NUM_WATCHED = 2  # cancellations of ours that are also watched through its metrics
LATEST = 0.5  # of a prefill at its initial speed: well before its end, since it slows down
GOLDEN = 0.618_034  # its multiples spread evenly over an interval, however many there are
SHORTEST_SECONDS = 0.02
TARGET = "≤ 60 ms"


class Idle(msgspec.Struct, frozen=True):
    """What a side takes when nothing else runs, in seconds."""

    probe: float
    prefill_per_token: float


def measure(options: Options, subject: Subject) -> Measurement:
    """Cancel `options.pairs` prefills on each side. Raises `EngineFailure` when one ends too soon to be cancelled."""
    num_tokens = options.num_tokens(PROMPT_TOKENS)
    context = sides.context_for(num_tokens)
    code = text_of(subject.tokenizer, num_tokens)
    delays: dict[str, list[float]] = {"ours": [], "peer": []}
    total = (1 + options.with_peer) * (1 + options.pairs) + NUM_WATCHED
    arguments = ["--context", str(context), "--max-live", "1"]
    with steps(total) as step, sides.both(options, subject, arguments, {"n_ctx": context}) as servers:
        idle: dict[str, Idle] = {side.name: idle_times(subject, side, step) for side in servers}
        for number, side in sides.in_turns(options.pairs, servers):
            after = moment(number, num_tokens * idle[side.name].prefill_per_token)
            step(f"{side.name}: prefill {number}, cancelled after {after:.1f} s")
            delays[side.name].append(delay(side, code, number, after) - idle[side.name].probe)
        watched = [
            watch(servers[0], code, options.pairs + n, idle["ours"], num_tokens, step)
            for n in range(1, NUM_WATCHED + 1)
        ]
    return Measurement(
        workload=f"cancel in a prefill of {num_tokens} tokens",
        unit="ms",
        ours=[seconds * 1e3 for seconds in delays["ours"]],
        theirs=[seconds * 1e3 for seconds in delays["peer"]],
        ceiling=floor(subject, num_tokens),
        details={"target": TARGET, "engine_idle_ms": [seconds * 1e3 for seconds in watched]} | described(idle),
    )


def moment(number: int, prefill_seconds: float) -> float:
    """Return how long after the request the cancellation number `number` comes."""
    return prefill_seconds * LATEST * (0.1 + 0.9 * (number * GOLDEN % 1))


def idle_times(subject: Subject, side: Side, step: Step) -> Idle:
    """Measure an idle server: a tiny request, and a prompt long enough to tell the speed."""
    step(f"{side.name}: idle")
    answer = side.ask(Conversation.about(text_of(subject.tokenizer, SPEED_TOKENS, skip=PROMPT_TOKENS * 2)), 1)
    probes = [side.ask(probe(number), 1).first for number in range(NUM_IDLE_PROBES)]
    return Idle(median(probes), answer.first / (answer.num_prompt_tokens - answer.num_cached_tokens))


def probe(number: int) -> Conversation:
    """Return a tiny conversation; its number comes first, so that no cache serves it."""
    return Conversation([{"role": "system", "content": f"{number}."}, {"role": "user", "content": "hi"}])


def leave(side: Side, code: str, number: int, after: float) -> None:
    """Ask for an answer to a long prompt of its own and close the connection `after` seconds later.

    When the answer begins before that, since the server became faster, another prompt gets half the time.
    Raises `EngineFailure` when even the shortest time is too long.
    """
    while after > SHORTEST_SECONDS:
        conversation = Conversation.about(code, system=f"Prefill {number}, cancelled after {after} seconds.")
        if is_cancelled(side, conversation, after):
            return
        after /= 2
    raise EngineFailure("the prefill is over too soon to be cancelled; ask for more tokens with --tokens")


def is_cancelled(side: Side, conversation: Conversation, after: float) -> bool:
    """Ask, close the connection `after` seconds later, and return whether no text had come until then."""
    with closing(Connection(side.server.port)) as connection:
        connection.send(PATH, conversation.body(side.model_id, 16))
        received = connection.receive_for(after)
    return not any(client.event_text(event) for _, event in client.timed_events(received.pieces))


def delay(side: Side, code: str, number: int, after: float) -> float:
    """Return the seconds from closing the connection to the first token of the next, tiny request."""
    leave(side, code, number, after)
    left = time.perf_counter()
    answer = side.ask(probe(NUM_IDLE_PROBES + number), 1)
    return time.perf_counter() - left - (answer.end - answer.first)


def watch(side: Side, code: str, number: int, idle: Idle, num_tokens: int, step: Step) -> float:
    """Return the seconds from closing the connection until our metrics say that nothing runs any more."""
    after = moment(number, num_tokens * idle.prefill_per_token)
    step(f"{side.name}: prefill {number}, cancelled after {after:.1f} s and watched")
    leave(side, code, number, after)
    left = time.perf_counter()
    while side.server.engine()["num_running"]:
        pass
    return time.perf_counter() - left


def floor(subject: Subject, num_tokens: int) -> Ceiling:
    """Return what moving the KV of a typical cancellation takes, in milliseconds."""
    bandwidth = machine.read_bandwidth(subject.num_threads)
    kept = num_tokens * LATEST / 2 * subject.kv_bytes_per_token
    what = f"{kept / 1e6:.0f} MB of KV read and written once, to be kept, at {bandwidth / 1e9:.1f} GB/s"
    return Ceiling(2 * kept / bandwidth * 1e3, what)


def described(idle: dict[str, Idle]) -> dict[str, Any]:
    """Return the idle times as details."""
    return {
        f"{name}_idle": {"probe_ms": times.probe * 1e3, "prefill_tokens_per_second": 1 / times.prefill_per_token}
        for name, times in idle.items()
    }
