"""Decode and prefill of a real model: our server and the peer, both up, one asked at a time, in pairs."""

from collections.abc import Callable
from contextlib import ExitStack
from statistics import median
from typing import Any

import msgspec

from firesteel.bench import client, roofline, servers, workload
from firesteel.bench.client import Answer
from firesteel.bench.options import Options
from firesteel.bench.report import Measurement
from firesteel.bench.roofline import Ceiling
from firesteel.bench.subject import Subject
from firesteel.bench.workload import Workload
from firesteel.errors import ConfigError
from firesteel.models.gguf import Header

PATH = "/v1/completions"


class Measured(msgspec.Struct, frozen=True):
    """The answers of both servers, run by run; `theirs` is empty when there is no peer.

    `python_share`: the part of our engine's step time that was not spent in the backend's native code.
    """

    ours: list[Answer]
    theirs: list[Answer]
    python_share: float


def measure(options: Options, subject: Subject) -> Measurement:
    """Measure the rate that `options.kind` names. Raises `ConfigError` or `EngineFailure`."""
    work = adapted(workload.load(options.kind), options)
    top = ceiling(options.kind, subject.header, subject.num_threads)  # before the servers start: nothing else may run
    measured = ask_both(options, subject, work)
    rate = RATES[options.kind]
    return Measurement(
        workload=work.name,
        unit="tokens/s",
        ours=[rate(answer) for answer in measured.ours],
        theirs=[rate(answer) for answer in measured.theirs],
        ceiling=top,
        details=details(measured),
    )


def adapted(work: Workload, options: Options) -> Workload:
    """Return the workload with the numbers of tokens that were asked for. `ConfigError`: several histories."""
    if options.kind == "prefill":
        return msgspec.structs.replace(work, prompt_tokens=options.num_tokens(work.prompt_tokens))
    if len(options.histories) > 1:
        raise ConfigError("bench decode takes one --history; bench step takes several")
    (num_prompt_tokens,) = options.histories or (work.prompt_tokens,)
    return msgspec.structs.replace(
        work, prompt_tokens=num_prompt_tokens, max_tokens=options.num_tokens(work.max_tokens)
    )


def ceiling(kind: str, header: Header | None, num_threads: int) -> Ceiling:
    """Measure the machine and return what it allows for this kind. Raises `ConfigError` without a model file."""
    if header is None:
        raise ConfigError(f"bench {kind} needs a real model; bench pipeline measures the scripted one")
    if kind == "decode":
        return roofline.decode_ceiling(header, num_threads)
    return roofline.prefill_ceiling(header)


def decode_rate(answer: Answer) -> float:
    """Return the tokens a second between the first and the last token."""
    return answer.tokens_per_second


def prefill_rate(answer: Answer) -> float:
    """Return the prompt tokens that were computed, by the time to the first token."""
    return (answer.num_prompt_tokens - answer.num_cached_tokens) / answer.first


RATES: dict[str, Callable[[Answer], float]] = {"decode": decode_rate, "prefill": prefill_rate}


def ask_both(options: Options, subject: Subject, work: Workload) -> Measured:
    """Start the servers, warm them up, ask them in the order A B B A …, and end them."""
    with ExitStack() as stack:
        ports = [servers.free_port()]
        command = subject.serve_command(ports[0], "--drafters", "none")  # the peer's default, too
        server = stack.enter_context(servers.running(command, ports[0]))
        if options.with_peer:
            ports.append(servers.free_port())
            stack.enter_context(servers.running(subject.peer_command(ports[1]), ports[1]))
        steps, native = server.engine_seconds()
        ours, theirs = alternate(ports, subject.model_id, work, options.pairs)
        steps_after, native_after = server.engine_seconds()
        return Measured(ours, theirs, 1 - (native_after - native) / (steps_after - steps))


def alternate(ports: list[int], model: str, work: Workload, pairs: int) -> tuple[list[Answer], list[Answer]]:
    """Ask all servers the same `pairs` requests and return the answers of the first and of the second.

    Every other pair begins with the second server, so that a machine that speeds up or slows down meanwhile
    favours neither.
    """
    answers: tuple[list[Answer], list[Answer]] = ([], [])
    for port in ports:
        client.ask(port, PATH, work.body(model, 0) | {"max_tokens": 4})
    for number in range(1, pairs + 1):
        order = list(enumerate(ports))
        for index, port in order if number % 2 else reversed(order):
            answers[index].append(client.ask(port, PATH, work.body(model, number)))
    return answers


def details(measured: Measured) -> dict[str, Any]:
    """Return what helps to understand the figures."""
    both = zip(measured.ours, measured.theirs, strict=False)
    found: dict[str, Any] = {"python_share": measured.python_share, "ours": described(measured.ours)}
    if measured.theirs:
        found["peer"] = described(measured.theirs)
        found["identical_texts"] = sum(mine.text == other.text for mine, other in both)
    return found


def described(answers: list[Answer]) -> dict[str, Any]:
    """Return the medians of one server, and what it said itself about its last run."""
    last = answers[-1]
    own = last.final.get("firesteel") or last.final.get("timings") or {}
    return {
        "ttft_seconds": median(answer.first for answer in answers),
        "prompt_tokens": int(median(answer.num_prompt_tokens for answer in answers)),
        "cached_tokens": int(median(answer.num_cached_tokens for answer in answers)),
        "output_tokens": int(median(answer.num_tokens for answer in answers)),
        "longest_gap_seconds": max(answer.longest_gap for answer in answers),
        "says": own,
    }
