"""`python -m tests.server.isolated`, inside a network namespace without any route: serve, and call every endpoint.

Prints one JSON document: the status of each operation, and the connections that the server's processes hold.
"""

import errno
import json
import socket
import subprocess
import sys
import tempfile
from typing import Any

import psutil

from firesteel.server.operations import OPERATIONS
from tests.server.live import Live, chat_body, serving, user
from tests.server.sockets import socket_to

BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": chat_body("hello", max_tokens=5),
    "/v1/completions": {"model": "scripted", "prompt": "x", "max_tokens": 5},
    "/v1/messages": {"model": "scripted", "messages": user("hello"), "max_tokens": 5},
    "/v1/messages/count_tokens": {"model": "scripted", "messages": user("hello")},
    "/infill": {"input_prefix": "x = ", "input_suffix": "", "n_predict": 5},
    "/v1/responses": {"model": "scripted", "input": "hello"},
    "/v1/responses/input_tokens": {"model": "scripted", "input": "hello"},
    "/v1/responses/compact": {"model": "scripted", "input": "hello"},
}


def is_cut_off() -> bool:
    """Return whether nothing but loopback can be reached."""
    with socket.socket() as outside:
        outside.settimeout(2)
        return outside.connect_ex(("192.0.2.1", 80)) in (errno.ENETUNREACH, errno.EHOSTUNREACH)


def call(live: Live, method: str, path: str) -> int:
    """Call an operation with what it needs; return its status."""
    if "{id}" in path:
        stored = live.http.post("/v1/responses", json=BODIES["/v1/responses"]).json()["id"]
        path = path.replace("{id}", stored)
    body = BODIES.get(path, {"input": "Shorter."} if path.endswith("/steer") else None)
    return live.http.request(method, path.replace("{model}", "scripted"), json=body).status_code


def remote_ends(live: Live) -> list[str]:
    """Return the other ends of the server's connections."""
    processes = [psutil.Process(live.process.pid), *live.children()]
    connections = [connection for process in processes for connection in process.net_connections("inet")]
    return sorted({str(connection.raddr.ip) for connection in connections if connection.raddr})


def main() -> None:
    """Serve and call."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    found: dict[str, Any] = {"is_cut_off": is_cut_off()}
    home = tempfile.TemporaryDirectory()
    options = ("--disk-cache", "8", "--log-format", "json")
    with home, serving(*options, env={"FIRESTEEL_HOME": home.name}) as live:
        found["statuses"] = {f"{o.method} {o.path}": call(live, o.method, o.path) for o in OPERATIONS}
        with socket_to(live) as connection:
            found["socket"] = connection.turn("hello")["type"]
        found["remote_ends"] = remote_ends(live)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
