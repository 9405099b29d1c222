"""What a server must be beside fast: warm, quick to let go, modest in memory, steady under load.

    .venv/bin/python benchmarks/serving.py [--model NAME] [--save]

Needs the model on this machine. Prints a line per figure and one JSON document last. The physics: a follow-up
should cost its new tokens only; a cancel should cost at most the step that runs; memory should be one copy of
the weights and the KV; and a refused request should cost the token loop nothing but its parsing.
"""

import argparse
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import psutil
from prometheus_client.parser import text_string_to_metric_families

from firesteel import machine
from firesteel.bench import client, servers
from firesteel.bench.roofline import bytes_per_token
from firesteel.models import pull
from firesteel.models.gguf import read_header, read_info

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
POLL_SECONDS = 0.002
Json = dict[str, Any]


def engine(server: servers.Server) -> dict[str, float]:
    """Return the engine's counters."""
    families = text_string_to_metric_families(server.get("/metrics"))
    samples = (sample for family in families if family.name == servers.ENGINE_METRIC for sample in family.samples)
    return {sample.labels["what"]: sample.value for sample in samples}


def code(num_lines: int, seed: int) -> str:
    """Return plausible Python, different for each seed so that no prefix is shared."""
    lines = (f"value_{seed}_{i} = compute_{seed}(items[{i}], offset={i * 7 % 13})" for i in range(num_lines))
    return f"# module {seed}\n" + "\n".join(lines)


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> float:
    """Return the seconds until `condition` holds. Raises TimeoutError."""
    started = time.perf_counter()
    while not condition():
        if time.perf_counter() - started > seconds:
            raise TimeoutError("the condition never held")
        time.sleep(POLL_SECONDS)
    return time.perf_counter() - started


def follow_up(server: servers.Server, model: str) -> Json:
    """A conversation of about 4k tokens grows by one short turn."""
    messages = [{"role": "user", "content": code(175, 1) + "\n\nWhat does this module do? One sentence."}]
    body = {"model": model, "messages": messages, "max_tokens": 32, "temperature": 0}
    cold = client.ask(server.port, CHAT, body)
    messages += [{"role": "assistant", "content": cold.text}, {"role": "user", "content": "Shorter."}]
    warm = client.ask(server.port, CHAT, body | {"messages": messages})
    return {
        "prompt_tokens": warm.num_prompt_tokens,
        "cached_tokens": warm.num_cached_tokens,
        "cached_share": warm.num_cached_tokens / warm.num_prompt_tokens,
        "ttft_cold_seconds": cold.first,
        "ttft_warm_seconds": warm.first,
    }


def disconnect(server: servers.Server, model: str, *, prompt: str, delay: float) -> Json:
    """A client leaves `delay` seconds after it asked; how long until nothing runs for it any more?"""
    body = {"model": model, "prompt": prompt, "max_tokens": 500, "temperature": 0}
    connection = client.Connection(server.port)
    connection.send(COMPLETIONS, body)
    time.sleep(delay)
    before = engine(server)
    assert before["num_running"] == 1, "the request had ended before the client left"
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()
    seconds = wait_for(lambda: engine(server)["num_running"] == 0)
    after = engine(server)
    assert after["num_cells_leased"] == 0
    return {"freed_seconds": seconds, "steps_after": after["num_steps"] - before["num_steps"]}


def memory(server: servers.Server, path: Path, num_cells: float, kv_bytes_per_token: int) -> Json:
    """Private memory of both processes, beyond one copy of the weights and the KV."""
    gateway = psutil.Process(server.process.pid)
    child = gateway.children()[0]
    weights = read_header(path).tensor_bytes
    kv = int(num_cells) * kv_bytes_per_token
    resident = child.memory_info().rss
    idle = int(engine(server)["host_bytes"])
    return {
        "engine_rss": resident,
        "engine_uss": child.memory_full_info().uss,
        "server_uss": gateway.memory_full_info().uss,
        "weights": weights,
        "kv": kv,
        "idle_kv_in_host_memory": idle,
        "beyond_weights_and_kv": resident - weights - kv - idle,
    }


def kv_bytes(path: Path) -> int:
    """Return the KV bytes of one token in f16."""
    metadata = read_header(path).metadata
    arch = read_info(path).architecture
    heads = int(metadata[f"{arch}.attention.head_count"])
    head_size = int(metadata[f"{arch}.embedding_length"]) // heads
    return int(metadata[f"{arch}.block_count"]) * 2 * int(metadata[f"{arch}.attention.head_count_kv"]) * head_size * 2


@contextmanager
def knocking(port: int, model: str, per_second: float) -> Iterator[list[int]]:
    """Send requests of 50 kB at a steady rate until the block ends; yields the statuses that came back."""
    prompt = (code(1100, 2) * 2)[:50_000]
    body = json.dumps({"model": model, "prompt": prompt, "max_tokens": 1}).encode()
    head = (
        f"POST {COMPLETIONS} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    )
    statuses: list[int] = []
    stop = threading.Event()
    sockets: list[socket.socket] = []

    def knock() -> None:
        with socket.create_connection(("127.0.0.1", port)) as one:
            sockets.append(one)
            if stop.is_set():  # too late for the list that is shut down at the end: nobody would end this one
                return
            one.sendall(head + body)
            try:
                statuses.append(int(one.recv(4096).split(b" ", 2)[1]))
            except (OSError, IndexError):
                statuses.append(0)  # still queued when the measurement ended

    def loop() -> None:
        due = time.perf_counter()
        while not stop.wait(max(0.0, due - time.perf_counter())):
            threading.Thread(target=knock, daemon=True).start()
            due += 1 / per_second

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield statuses
    finally:
        stop.set()
        thread.join()
        for one in sockets:
            with suppress(OSError):  # close alone would not wake the thread that reads
                one.shutdown(socket.SHUT_RDWR)


def steady(model: str, arguments: list[str], pairs: int) -> Json:
    """Decode speed of one stream, quiet and beside ten requests of 50 kB a second, in alternation."""
    port = servers.free_port()
    quiet: list[float] = []
    busy: list[float] = []
    statuses: list[int] = []
    name = Path(model).name
    body = {"model": name, "prompt": "def quicksort(items):\n", "max_tokens": 150, "temperature": 0}
    with servers.running(servers.serve_command(port, ["--model", model, *arguments]), port) as server:
        client.ask(port, COMPLETIONS, body)
        for _ in range(pairs):
            quiet.append(client.ask(port, COMPLETIONS, body).tokens_per_second)
            connection = client.Connection(port)
            exchange = connection.send(COMPLETIONS, body)
            connection.receive()  # the stream is live before the others knock
            with knocking(port, name, 10.0) as seen:
                while not exchange.complete:
                    connection.receive()
            busy.append(exchange.answer().tokens_per_second)
            connection.close()
            statuses += seen
            wait_for(lambda: engine(server)["num_running"] + engine(server)["num_waiting"] == 0)
    ratios = [b / q for b, q in zip(busy, quiet, strict=True)]
    counts = {str(status): statuses.count(status) for status in sorted(set(statuses))}
    return {"quiet": quiet, "busy": busy, "ratio_median": median(ratios), "statuses": counts}


def steadiness(path: Path, pairs: int) -> Json:
    """Measure how steady a stream is when others are refused, and when they queue."""
    queue = ["--max-live", "1", "--max-queue"]
    return {
        "refused": steady(str(path), [*queue, "0"], pairs),
        "queued": steady(str(path), [*queue, "1000", "--context", "32768"], pairs),
    }


def run(model: str, pairs: int) -> Json:
    """Measure everything; `model` is a name or a path."""
    path = pull.resolve(model)
    found: Json = {"machine": msgspec.to_builtins(machine.describe()), "load_average_before": machine.load_average()}
    found["bytes_per_token"] = bytes_per_token(read_header(path))
    port = servers.free_port()
    with servers.running(servers.serve_command(port, ["--model", str(path)]), port) as server:
        found["follow_up"] = follow_up(server, path.name)
        short, long = "def quicksort(items):\n", code(240, 3)
        found["disconnect_streaming"] = [
            disconnect(server, path.name, prompt=f"# {i}\n{short}", delay=1.5) for i in range(pairs)
        ]
        found["disconnect_prefill"] = [
            disconnect(server, path.name, prompt=f"# {i}\n{long}", delay=1.0 + i / 3) for i in range(pairs)
        ]
        found["memory"] = memory(server, path, engine(server)["num_cells"], kv_bytes(path))
    found |= steadiness(path, pairs)
    return found


def main() -> None:
    """Print the figures, and keep them with --save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="qwen2.5-coder-0.5b")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--save", action="store_true")
    arguments = parser.parse_args()
    found = run(arguments.model, arguments.pairs)
    for name, value in found.items():
        print(f"{name}: {value}")
    document = json.dumps({"kind": "serving", "model": arguments.model, **found})
    if arguments.save:
        name = f"serving-{date.today().isoformat()}-{found['machine']['num_cores']}-cores.json"
        (Path(__file__).parent / "results" / name).write_text(document + "\n")
    print(document)


if __name__ == "__main__":
    main()
