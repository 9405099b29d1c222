"""An ASGI client without a network, whose reading the test controls."""

import asyncio
from types import SimpleNamespace
from typing import Any

from starlette.requests import Request

from firesteel.config import ServerConfig
from firesteel.responses.service import Responses
from firesteel.server.answer import Answer
from firesteel.server.metrics import Metrics
from firesteel.session.response_store import MEMORY, ResponseStore
from tests.pipeline.fake_engine import FakeEngine, make_pipeline


class Client:
    """One request to an `Answer` on a `FakeEngine`; `sent` is what reached the client."""

    def __init__(
        self, kind: str, body: bytes, *, max_body_bytes: int = 1000, make: type[Answer] = Answer, **limits: Any
    ) -> None:
        self.engine = FakeEngine()
        self.pipeline = make_pipeline(self.engine)
        self.metrics = Metrics()
        self.reads = asyncio.Event()  # cleared: the client takes nothing
        self.reads.set()
        self.leaves = asyncio.Event()
        self.sent: list[bytes] = []
        self.status = 0
        self.headers: dict[str, str] = {}
        self._body = [body]
        self._scope: dict[str, Any] = {
            "type": "http",
            "method": "POST",
            "path": "/",
            "query_string": b"",
            "headers": [],
        }
        request = Request(self._scope, self._receive)
        request.state.request_id, request.state.scope = "r", ""
        self._answer = make(
            self.pipeline,
            self.metrics,
            request,
            kind,
            config=ServerConfig(max_body_bytes=max_body_bytes, **limits),
        )

        responses = Responses(self.pipeline, ResponseStore(MEMORY), keeps=False)
        self._answer.service = SimpleNamespace(ready_responses=lambda: responses)

    def start(self) -> "asyncio.Task[None]":
        """Run the request; the task ends when the response has been sent or given up."""
        return asyncio.create_task(self._answer(self._scope, self._receive, self._send))

    async def started(self) -> None:
        """Wait until the engine has the request."""
        while not self.engine.works:
            await asyncio.sleep(0)

    @property
    def text(self) -> str:
        return b"".join(self.sent).decode()

    async def _receive(self) -> dict[str, Any]:
        if self._body:
            return {"type": "http.request", "body": self._body.pop(), "more_body": False}
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        await self.reads.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.sent.append(message["body"])
