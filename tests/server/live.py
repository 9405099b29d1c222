"""A live server on the scripted backend, as a process, and what tests ask of it."""

import json
import os
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import openai
import psutil
from prometheus_client.parser import text_string_to_metric_families

from firesteel.bench.servers import free_port
from firesteel.stream.sse import SSEComment, SSEDecoder, SSEItem, SSEMessage

START_SECONDS = 30.0
PATIENCE_SECONDS = 10.0

# One script for all tests that can share a server; the last user text chooses the rule.
SCRIPT: dict[str, Any] = {
    "rules": [
        {"match": "^hello", "say": "Hello. What shall we write? 🦊 ok"},
        {"match": "^json", "say": '{"ok": true}'},
        {"match": "^slow", "step_ms": 10},
        {"match": "^stall", "stall_at": 3, "stall_ms": 60_000},
        {"match": "^late", "stall_at": 0, "stall_ms": 2_500},
        {"match": "^read slowly", "prefill_ms_per_row": 4},
        {"match": "^fail first", "fail_at": 0},
        {"match": "^fail later", "fail_at": 12, "step_ms": 2},
        {"match": "^crash", "crash_at": 12, "step_ms": 2},
        {"match": "^burst", "tokens_per_step": 64},
        {"match": "^hash", "mode": "hash"},
    ]
}

T = TypeVar("T")


def wait_for(ask: Callable[[], T], what: str, seconds: float = PATIENCE_SECONDS) -> T:
    """Return the first true answer of `ask`. Raises AssertionError that says `what` did not come."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds} seconds"
        time.sleep(0.01)
    return answer


def user(text: str) -> Any:
    """Return a conversation of one user message, in the type that the SDK's overloads take."""
    return [{"role": "user", "content": text}]


def chat_body(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": "scripted", "messages": user(text), **fields}


class Live:
    """A server process; `log` holds its stdout and stderr."""

    def __init__(
        self, process: "subprocess.Popen[bytes]", port: int, log: Path, verify: ssl.SSLContext | None = None
    ) -> None:
        self.process = process
        self.port = port
        self.log = log
        self.url = f"{'http' if verify is None else 'https'}://127.0.0.1:{port}"
        self.http = httpx.Client(base_url=self.url, timeout=30, trust_env=False, verify=verify or True)

    def openai(self, **options: Any) -> openai.OpenAI:
        defaults = {"base_url": f"{self.url}/v1", "api_key": "any", "max_retries": 0, "timeout": 30}
        return openai.OpenAI(**{**defaults, **options})

    def chat(self, text: str, **fields: Any) -> httpx.Response:
        return self.http.post("/v1/chat/completions", json=chat_body(text, **fields))

    def metric(self, name: str, **labels: str) -> float:
        """Return a sample of /metrics; 0 where there is none yet."""
        families = text_string_to_metric_families(self.http.get("/metrics").text)
        samples = [sample for family in families for sample in family.samples]
        found = [s.value for s in samples if s.name == name and labels.items() <= s.labels.items()]
        return sum(found)

    def engine(self, what: str) -> float:
        """Return one of the engine's own numbers."""
        return self.metric("firesteel_engine", what=what)

    def wait_engine(self, **expected: int) -> None:
        """Wait until the engine's numbers are as expected."""
        wait_for(lambda: all(self.engine(name) == value for name, value in expected.items()), str(expected))

    def wait_idle(self) -> None:
        """Wait until the engine holds no sequence."""
        self.wait_engine(num_running=0, num_waiting=0, num_cells_leased=0)

    def health(self) -> int:
        return self.http.get("/health").status_code

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def stop(self) -> None:
        """End the process for certain, and its children with it."""
        self.http.close()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def firesteel(*arguments: str) -> list[str]:
    """Return the command line of `firesteel ARGUMENTS`."""
    return [sys.executable, "-m", "firesteel", *arguments]


def environment(changes: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment without a key of the developer's own, with `changes`."""
    inherited = {name: value for name, value in os.environ.items() if name != "FIRESTEEL_API_KEY"}
    return {**inherited, "FIRESTEEL_OFFLINE": "1", **changes}


def own_books(env: Mapping[str, str]) -> dict[str, str]:
    """Return `env` with no key file and no ledger, which would be the developer's own, unless it has a home."""
    return {**({} if "FIRESTEEL_HOME" in env else {"FIRESTEEL_KEYS": "none", "FIRESTEEL_LEDGER": "none"}), **env}


@contextmanager
def serving(
    *arguments: str,
    script: Mapping[str, Any] = SCRIPT,
    env: Mapping[str, str] | None = None,
    command: Callable[[int, str], Sequence[str]] | None = None,
    verify: ssl.SSLContext | None = None,
) -> Iterator[Live]:
    """Run `firesteel serve` on the scripted backend, ready; `command(port, script file)` replaces the command.

    `verify` is what a server with TLS is asked with.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "script.json")
        path.write_text(json.dumps(script))
        port = free_port()
        keep = () if "--disk-cache" in arguments else ("--disk-cache", "0")  # nothing of a test outlives it
        where = ("--port", str(port), "--response-store", ":memory:", *keep)
        line = firesteel("serve", "--backend", "scripted", "--script", str(path), *where, *arguments)
        log = Path(folder, "log")
        with log.open("wb") as file:
            process = subprocess.Popen(
                command(port, str(path)) if command else line,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment(own_books(env or {})),
            )
        live = Live(process, port, log, verify)
        try:
            wait_for(lambda: is_ready(live), "the server is ready", START_SECONDS)
            yield live
        finally:
            live.stop()


def is_ready(live: Live) -> bool:
    """Return whether /health answers 200. Raises AssertionError when the process has ended."""
    assert live.process.poll() is None, live.log.read_text()
    try:
        return live.health() == 200
    except httpx.TransportError:
        return False


class Wire:
    """A raw connection that posts one request and reads when it is told to."""

    def __init__(self, port: int, *, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(START_SECONDS)
        self.socket.connect(("127.0.0.1", port))
        self.address: tuple[str, int] = self.socket.getsockname()

    def post(self, body: Mapping[str, Any], path: str = "/v1/chat/completions", key: str = "any") -> "Wire":
        """Send a request whose response closes the connection."""
        content = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {key}\r\n"
        self.socket.sendall(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)
        return self

    def read(self, size: int = 65_536) -> bytes:
        return self.socket.recv(size)

    def read_to_end(self) -> bytes:
        return b"".join(iter(self.read, b""))

    def reset(self) -> None:
        """Vanish with a RST instead of a FIN."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


def unchunked(raw: bytes) -> tuple[int, bytes]:
    """Return status and body of a whole HTTP/1.1 response, chunked or not."""
    head, _, rest = raw.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    if b"chunked" not in head.lower():
        return status, rest
    parts = []
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        parts.append(rest[:length])
        rest = rest[length + 2 :]
    return status, b"".join(parts)


def items_of(body: bytes) -> list[SSEItem]:
    """Return the events and comments of a whole stream, which must end cleanly."""
    decoder = SSEDecoder()
    items = decoder.feed(body)
    decoder.finish()
    return items


def chunks_of(body: bytes) -> list[dict[str, Any]]:
    """Return the JSON of every event but `[DONE]`."""
    messages = [item.data for item in items_of(body) if isinstance(item, SSEMessage)]
    return [json.loads(data) for data in messages if data != "[DONE]"]


def comments_of(body: bytes) -> list[str]:
    return [item.text for item in items_of(body) if isinstance(item, SSEComment)]


def is_done(body: bytes) -> bool:
    """Return whether the stream says that it is complete."""
    return body.endswith(b"data: [DONE]\n\n")


def text_of(body: bytes, choice: int = 0) -> str:
    """Return the text of one choice of a streamed response, of either endpoint."""
    found = [entry for chunk in chunks_of(body) for entry in chunk.get("choices", ()) if entry["index"] == choice]
    return "".join(entry["delta"].get("content") or "" if "delta" in entry else entry["text"] for entry in found)
