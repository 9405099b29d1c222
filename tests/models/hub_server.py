"""A stand-in for the Hugging Face hub: `/resolve/` redirects to a store that honours `Range`."""

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Seen(NamedTuple):
    """One request as the server saw it."""

    method: str
    path: str
    range: str | None
    authorization: str | None


class Hub:
    """What the server holds, how it misbehaves, and what it was asked."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.seen: list[Seen] = []
        self.url = ""
        self.ranges = True
        self.tells_sha256 = True
        self.corrupt = False
        self.status = 200
        self.cuts: list[int] = []  # bytes after which the next answers break off
        self.started = threading.Event()  # set by the first download
        self.pause = threading.Event()  # downloads wait for it
        self.pause.set()

    def downloads(self) -> list[Seen]:
        """The requests for content."""
        return [seen for seen in self.seen if seen.path.startswith("/store/")]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format: str, *args: object) -> None:
        return

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, *, with_body: bool) -> None:
        hub = self.hub
        headers = self.headers
        hub.seen.append(Seen(self.command, self.path, headers["Range"], headers["Authorization"]))
        content = hub.files.get(self.path.removeprefix("/store"))
        if hub.status != 200 or content is None:
            self.start(hub.status if hub.status != 200 else 404, {"Content-Length": "0"})
        elif self.path.startswith("/store/"):
            self.send_content(content, with_body)
        else:
            linked = {"X-Linked-Size": str(len(content)), "Content-Length": "0"}
            if hub.tells_sha256:
                linked["X-Linked-ETag"] = f'"{hashlib.sha256(content).hexdigest()}"'
            self.start(302, linked | {"Location": f"{hub.url}/store{self.path}"})

    def start(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def send_content(self, content: bytes, with_body: bool) -> None:
        hub = self.hub
        if hub.corrupt:
            content = content[:-1] + bytes([content[-1] ^ 1])
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "") if hub.ranges else None
        body = content[int(wanted[1]) :] if wanted else content
        self.start(206 if wanted else 200, {"Content-Length": str(len(body))})
        if not with_body:
            return
        hub.started.set()
        hub.pause.wait(30)
        self.close_connection = bool(hub.cuts)
        with suppress(ConnectionError):  # the client may leave in the middle
            self.wfile.write(body[: hub.cuts.pop(0)] if hub.cuts else body)


@contextmanager
def serving() -> Iterator[Hub]:
    """Run a hub on a free port of 127.0.0.1."""
    hub = Hub()
    handler = type("BoundHandler", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        hub.pause.set()
        server.shutdown()
        server.server_close()
        thread.join()
