"""Decode and prefill of a real model: our server and the peer, both up, one asked at a time, in pairs."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any, Literal

import msgspec

from firesteel import machine
from firesteel.bench import client, peer, roofline, servers, workload
from firesteel.bench.client import Answer
from firesteel.bench.report import Peer, Report, ratio_median
from firesteel.bench.roofline import Ceiling
from firesteel.bench.workload import Workload
from firesteel.models import files, gguf, pull
from firesteel.models.gguf import Header

PATH = "/v1/completions"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What to measure. `num_tokens`: to decode, or of the prompt to prefill; `None` is the workload's own."""

    kind: Literal["decode", "prefill"]
    model: str
    pairs: int
    num_tokens: int | None = None
    with_peer: bool = False
    quantize: Literal["q4_0", "q8_0"] | None = None


class Measured(msgspec.Struct, frozen=True):
    """The answers of both servers, run by run; `theirs` is empty when there is no peer.

    `python_share`: the part of our engine's step time that was not spent in the backend's native code.
    """

    ours: list[Answer]
    theirs: list[Answer]
    python_share: float


def run(options: Options) -> Report:
    """Measure and return the report. Raises `ModelError`, `ConfigError` or `EngineFailure`."""
    peer_name = peer.describe() if options.with_peer else ""
    path = model_path(options)
    header = gguf.read_header(path)
    description, num_threads = machine.describe(), machine.num_cores()
    work = adapted(workload.load(options.kind), options)
    load = machine.load_average()
    top = ceiling(options.kind, header, num_threads)  # before the servers start: nothing else may run
    measured = measure(options, path, num_threads, work)
    rate = RATES[options.kind]
    ours = [rate(answer) for answer in measured.ours]
    theirs = Peer(peer_name, [rate(answer) for answer in measured.theirs]) if measured.theirs else None
    return Report(
        kind=options.kind,
        workload=work.name,
        model=options.model,
        model_sha256=files.sha256_of(path),
        machine=description,
        unit="tokens/s",
        ours=ours,
        peer=theirs,
        ratio_median=ratio_median(ours, theirs),
        ceiling=top,
        details={"threads": num_threads, "load_average_before": load} | details(measured),
    )


def model_path(options: Options) -> Path:
    """Return the file that both servers load. Raises `ModelError` when it is not on this machine."""
    path = pull.resolve(options.model)
    if options.quantize is None:
        return path
    from firesteel.backend.quantize import quantized  # loads llama.cpp

    return quantized(path, options.quantize)


def adapted(work: Workload, options: Options) -> Workload:
    """Return the workload with the number of tokens that was asked for."""
    if options.num_tokens is None:
        return work
    name = "max_tokens" if options.kind == "decode" else "prompt_tokens"
    return msgspec.structs.replace(work, **{name: options.num_tokens})


def ceiling(kind: str, header: Header, num_threads: int) -> Ceiling:
    """Measure the machine and return what it allows for this kind."""
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


def measure(options: Options, path: Path, num_threads: int, work: Workload) -> Measured:
    """Start the servers, warm them up, ask them in the order A B B A …, and end them."""
    with ExitStack() as stack:
        ports = [servers.free_port()]
        command = servers.serve_command(ports[0], ["--model", str(path)])
        server = stack.enter_context(servers.running(command, ports[0]))
        if options.with_peer:
            ports.append(servers.free_port())
            stack.enter_context(servers.running(peer.command(str(path), ports[1], num_threads), ports[1]))
        steps, native = server.engine_seconds()
        ours, theirs = alternate(ports, path.name, work, options.pairs)
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
