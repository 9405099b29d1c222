"""Our own code without a model: the scripted backend, which costs next to nothing, in the whole server."""

import time
from importlib import resources
from typing import Any

from firesteel import machine
from firesteel.bench import servers, stages, workload
from firesteel.bench.client import Answer, Connection, exchange_all
from firesteel.bench.report import Report, percentile
from firesteel.bench.roofline import Ceiling
from firesteel.bench.servers import Server

PATH = "/v1/chat/completions"
MODEL = "scripted"
NUM_STREAMS = 64
NUM_TTFT_REQUESTS = 200
DEFAULT_TOKENS = 4096
STREAM_TOKENS = 512  # of each of the 64


def run(runs: int, num_tokens: int | None) -> Report:
    """Measure and return the report; `ours` is one stream at one token a step. Raises `EngineFailure`."""
    tokens = num_tokens or DEFAULT_TOKENS
    with resources.as_file(workload.FOLDER / "pipeline.json") as script:
        port = servers.free_port()
        arguments = ["--backend", MODEL, "--script", str(script), "--drafters", "none"]
        with servers.running(servers.serve_command(port, arguments), port) as server:
            return measure(server, runs, tokens)


def measure(server: Server, runs: int, tokens: int) -> Report:
    """Ask a running scripted server everything that the report holds."""
    load = machine.load_average()
    connection = Connection(server.port)
    connection.ask(PATH, body("one token a step", 256))
    singles, client, processes = one_stream(server, connection, body("one token a step", tokens), runs)
    sixteens, _, _ = one_stream(server, connection, body("sixteen tokens a step", tokens), runs)
    sampled, _, _ = one_stream(server, connection, body("sampled", tokens, temperature=0.8), runs)
    firsts = [connection.ask(PATH, body(f"question {n}", 1)).first for n in range(NUM_TTFT_REQUESTS)]
    connection.close()
    many = many_streams(server.port, runs)
    return Report(
        kind="pipeline",
        workload="one stream, one token a step",
        model=MODEL,
        model_sha256=None,
        machine=machine.describe(),
        unit="tokens/s",
        ours=singles,
        peer=None,
        ratio_median=None,
        ceiling=Ceiling(1 / client, "where this client alone would fill one core"),
        details={
            "load_average_before": load,
            "one_stream_16_tokens_a_step": sixteens,
            "one_stream_sampled": sampled,
            f"{NUM_STREAMS}_streams_sum": many,
            "ttft_ms": {f"p{p}": percentile(firsts, p) * 1e3 for p in (50, 99)},
            "cpu_microseconds_per_token": processes | {"client": client * 1e6},
            "cpu_microseconds_by_stage": stages.measure(tokens),
            "drafted_16_right_a_step": stages.drafted(tokens),
        },
    )


def body(text: str, max_tokens: int, *, temperature: float = 0.0) -> dict[str, Any]:
    """Return a chat request."""
    messages = [{"role": "user", "content": text}]
    return {"model": MODEL, "messages": messages, "max_tokens": max_tokens, "temperature": temperature}


def one_stream(
    server: Server, connection: Connection, request: dict[str, Any], runs: int
) -> tuple[list[float], float, dict[str, float]]:
    """Ask the same thing `runs` times.

    Return the tokens a second of each run (from sending the request to the end of the answer), the client's
    processor seconds a token, and the processor microseconds a token of each of the server's processes.
    """
    before, client_before = server.cpu_seconds(), time.process_time()
    exchanges = [connection.exchange(PATH, request) for _ in range(runs)]
    client, after = time.process_time() - client_before, server.cpu_seconds()
    answers = [exchange.answer() for exchange in exchanges]
    total = sum(answer.num_tokens for answer in answers)
    processes = {name: (after[name] - before[name]) / total * 1e6 for name in before}
    return [whole_rate(answer) for answer in answers], client / total, processes


def whole_rate(answer: Answer) -> float:
    """Return the tokens by the whole time of the answer: the first event may hold several tokens."""
    return answer.num_tokens / answer.end


def many_streams(port: int, runs: int) -> list[float]:
    """Return the tokens a second of 64 streams together, for each run."""
    connections = [Connection(port) for _ in range(NUM_STREAMS)]
    bodies = [body(f"stream {number}", STREAM_TOKENS) for number in range(NUM_STREAMS)]
    rates = []
    for _ in range(runs):
        exchanges = exchange_all(connections, PATH, bodies)
        seconds = max(exchange.now for exchange in exchanges) - exchanges[0].sent
        rates.append(sum(exchange.answer().num_tokens for exchange in exchanges) / seconds)
    for connection in connections:
        connection.close()
    return rates
