"""Drives `codex app-server`: JSON-RPC over its standard streams."""

import json
import queue
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.clients.installed import CLIENT_SECONDS, User


class AppServer:
    """One conversation with Codex, as an editor has it."""

    def __init__(self, process: "subprocess.Popen[str]", seconds: float) -> None:
        self._seconds = seconds  # that a message may take
        self._process = process
        self._messages: queue.Queue[dict[str, Any]] = queue.Queue()
        self._next_id = 0
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._messages.put(json.loads(line))

    def send(self, method: str, **params: Any) -> int:
        self._next_id += 1
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"id": self._next_id, "method": method, "params": params}) + "\n")
        self._process.stdin.flush()
        return self._next_id

    def ask(self, method: str, **params: Any) -> Any:
        """Return the result; what is told meanwhile is dropped."""
        id = self.send(method, **params)
        message = self.receive()
        while message.get("id") != id:
            message = self.receive()
        assert "error" not in message, message
        return message["result"]

    def receive(self) -> dict[str, Any]:
        return self._messages.get(timeout=self._seconds)

    def until(self, *methods: str) -> dict[str, Any]:
        """Return the params of the next notification that is one of `methods`."""
        message = self.receive()
        while message.get("method") not in methods:
            message = self.receive()
        params: dict[str, Any] = message["params"]
        return params

    def begin(self, user: User, text: str) -> tuple[str, str]:
        """Start a thread and a turn; return their ids."""
        self.ask("initialize", clientInfo={"name": "test", "title": "Test", "version": "1"})
        thread = self.ask("thread/start", cwd=str(user.project), approvalPolicy="never")["thread"]["id"]
        turn = self.ask("turn/start", threadId=thread, input=words(text))["turn"]["id"]
        return thread, turn


def words(text: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text}]


@contextmanager
def app_server(codex: str, user: User, seconds: float = CLIENT_SECONDS) -> Iterator[AppServer]:
    process = subprocess.Popen(
        [codex, "app-server"],
        cwd=user.project,
        env=user.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield AppServer(process, seconds)
    finally:
        process.terminate()
        process.wait(CLIENT_SECONDS)
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            stream.close()
