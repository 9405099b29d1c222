"""The wire without a model: what a turn costs over a WebSocket and over HTTP, and how many clients fit."""

from collections.abc import Callable
from importlib import resources
from statistics import median
from typing import Any

from firesteel import machine
from firesteel.bench import servers, wire_crowd, workload
from firesteel.bench.report import Peer, Report, percentile, ratio_median
from firesteel.bench.roofline import Ceiling
from firesteel.bench.wire_client import MODEL, HttpLoop, Socket, echo_seconds
from firesteel.errors import EngineFailure

NUM_TURNS = 300
NUM_STEERS = 20
NUM_CALLS = 20
FIRST_BYTES = 40_000
TOOL = {
    "type": "function",
    "name": "exec_command",
    "description": "Runs a command.",
    "parameters": {"type": "object", "properties": {"cmd": {"type": "string"}}, "required": ["cmd"]},
    "strict": False,
}
LINE = "Some rule about the work that must be followed with care by whoever changes this code. "
RESULT = "engine.py\nserver.py\ntests\n"

Item = dict[str, Any]


def run(pairs: int) -> Report:
    """Measure and return the report; `ours` is the loop over a WebSocket. Raises `EngineFailure`."""
    with resources.as_file(workload.FOLDER / "wire.json") as script:
        port = servers.free_port()
        crowd = ["--max-live", str(wire_crowd.NUM_STREAMS), "--max-queue", str(wire_crowd.NUM_STREAMS)]
        own = ["--response-store", ":memory:", "--disk-cache", "0", *crowd]
        arguments = ["--backend", MODEL, "--script", str(script), *own]
        with servers.running(servers.serve_command(port, arguments), port) as server:
            return measure(server, pairs)


def measure(server: servers.Server, pairs: int) -> Report:
    """Ask a running scripted server everything that the report holds."""
    load = machine.load_average()
    idle = wire_crowd.idle(server)
    turns = turn_seconds(server.port, NUM_TURNS)
    loops(server.port, 1)
    ours, theirs, whole = loops(server.port, pairs)
    peer = Peer("HTTP with the full history", theirs)
    steers = steer_seconds(server.port, NUM_STEERS)
    return Report(
        kind="wire",
        workload=f"{NUM_CALLS} tool calls after a request of {FIRST_BYTES // 1000} kB: time beyond the engine's own",
        model=MODEL,
        model_sha256=None,
        machine=machine.describe(),
        unit="ms",
        ours=ours,
        peer=peer,
        ratio_median=ratio_median(ours, peer),
        ceiling=Ceiling(NUM_CALLS * echo_seconds() * 1e3, "as many bare WebSocket echoes on this machine"),
        details={
            "load_average_before": load,
            "loop_with_engine_ms": whole,
            "turn_to_first_event_ms": spread(turns),
            "last_delta_to_successor_ms": spread([after for _, after in steers]),
            "steer_to_successor_ms": spread([whole for whole, _ in steers]),
            **idle,
            **wire_crowd.busy(server),
        },
    )


def spread(seconds: list[float]) -> dict[str, float]:
    """Return percentiles in milliseconds."""
    return {f"p{p}": percentile(seconds, p) * 1e3 for p in (50, 99)}


def turn_seconds(port: int, count: int) -> list[float]:
    """Return the seconds from sending a small request over an open socket to its first event, for each of `count`."""
    with Socket(port) as socket:
        for _ in range(20):
            socket.turn("say one word")
        return [socket.turn("say one word").first for _ in range(count)]


def opening() -> list[Item]:
    """Return the items of the first request."""
    rules = LINE * (FIRST_BYTES // len(LINE))
    return [{"role": "developer", "content": rules}, {"role": "user", "content": "run it"}]


def loops(port: int, pairs: int) -> tuple[list[float], list[float], dict[str, float]]:
    """Return the milliseconds beyond the engine's of each loop over a WebSocket and over HTTP, in alternation."""
    ours, theirs = [], []
    for _ in range(pairs):
        with Socket(port) as socket:
            ours.append(loop(socket.ask, goes_on=True))
        with HttpLoop(port) as http:
            theirs.append(loop(http.ask, goes_on=False))
    whole = {"websocket": median(w for _, w in ours), "http": median(w for _, w in theirs)}
    return [beyond for beyond, _ in ours], [beyond for beyond, _ in theirs], whole


def loop(ask: Callable[[dict[str, Any]], tuple[float, dict[str, Any]]], *, goes_on: bool) -> tuple[float, float]:
    """Run one loop; return its milliseconds without and with the engine's own.

    `goes_on`: each request names the response before it and holds what is new, instead of everything.
    """
    items, previous, total, engine = opening(), None, 0.0, 0.0
    for _ in range(NUM_CALLS):
        request = {"model": MODEL, "input": items, "tools": [TOOL], "store": False, "previous_response_id": previous}
        seconds, response = ask(request)
        calls = [item for item in response["output"] if item["type"] == "function_call"]
        if not calls:
            raise EngineFailure("the scripted model called no tool; this is a bug in Firesteel")
        total += seconds
        engine += sum(response["firesteel"]["timings"].values())
        new = [{"type": "function_call_output", "call_id": call["call_id"], "output": RESULT} for call in calls]
        previous = response["id"] if goes_on else None
        items = new if goes_on else [*items, *response["output"], *new]
    return (total - engine) * 1e3, total * 1e3


def steer_seconds(port: int, count: int) -> list[tuple[float, float]]:
    """Return, for each steer, the seconds from sending it and from the last delta to the successor's first event."""
    with Socket(port) as socket:
        return [socket.steered("write lines", "say one word") for _ in range(count)]
