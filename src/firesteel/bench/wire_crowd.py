"""Many clients at once: a thousand sockets that do nothing, and two hundred streams side by side."""

import asyncio
import json
import resource
import socket
import time
from contextlib import ExitStack
from typing import Any

import psutil
from websockets.asyncio.client import connect

from firesteel.bench.report import percentile
from firesteel.bench.servers import Server
from firesteel.bench.wire_client import MODEL, PATH, SECONDS

NUM_IDLE = 1000
NUM_STREAMS = 200
STREAM_TOKENS = 100
DEFLATE = "sec-websocket-extensions: permessage-deflate\r\n"


def idle(server: Server) -> dict[str, Any]:
    """Return the megabytes of the whole server process: fresh, and with idle sockets of two kinds.

    Only a fresh process shows what sockets take: it keeps the memory of those that left for the next ones.
    """
    _allow_files()
    gateway = psutil.Process(server.process.pid)
    fresh = gateway.memory_info().rss
    plain = idle_bytes(server.port, gateway, "")
    deflated = idle_bytes(server.port, gateway, DEFLATE)
    return {
        "gateway_mb": {
            "fresh": fresh / 1e6,
            f"{NUM_IDLE}_idle_sockets": plain / 1e6,
            f"{NUM_IDLE}_idle_sockets_with_deflate": deflated / 1e6,
        }
    }


def busy(server: Server) -> dict[str, Any]:
    """Return how smoothly many streams run side by side."""
    gaps, num_errors = asyncio.run(streams(server.port))
    return {
        f"{NUM_STREAMS}_streams": {
            "errors": num_errors,
            "event_gap_ms_p50": percentile(gaps, 50) * 1e3,
            "event_gap_ms_p99": percentile(gaps, 99) * 1e3,
        },
        "gateway_mb_at_the_end": psutil.Process(server.process.pid).memory_info().rss / 1e6,
    }


def _allow_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def idle_bytes(port: int, gateway: psutil.Process, extension: str) -> int:
    """Return what the server process occupies while idle sockets that offer `extension` are open."""
    handshake = (
        f"GET {PATH} HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n{extension}"
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
    ).encode()
    with ExitStack() as stack:
        for _ in range(NUM_IDLE):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), SECONDS))
            client.sendall(handshake)
            while not client.recv(4096).endswith(b"\r\n\r\n"):
                pass
        return int(gateway.memory_info().rss)


async def streams(port: int) -> tuple[list[float], int]:
    """Run the streams, each over its own socket; return the seconds between neighbouring events, and the errors."""
    found = await asyncio.gather(*(stream(port) for _ in range(NUM_STREAMS)))
    return [gap for gaps, _ in found for gap in gaps], sum(failed for _, failed in found)


async def stream(port: int) -> tuple[list[float], bool]:
    """Run one stream; return the seconds between its deltas, and whether it failed."""
    create = {"type": "response.create", "model": MODEL, "input": "write slowly", "max_output_tokens": STREAM_TOKENS}
    url = f"ws://127.0.0.1:{port}{PATH}"
    async with connect(url, proxy=None, compression=None, open_timeout=SECONDS) as client:
        await client.send(json.dumps(create))
        gaps, last = [], 0.0
        async for raw in client:
            kind = json.loads(raw)["type"]
            if kind.endswith(".delta"):
                now = time.perf_counter()
                gaps += [now - last] if last else []
                last = now
            if kind in ("response.incomplete", "response.completed"):
                return gaps, False
            if kind in ("error", "response.failed"):
                break
    return gaps, True
