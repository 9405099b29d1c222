"""What the clients of a soak do: one coroutine an activity, which raises Unexpected for what it did not ask for.

Errors, cancels and steers are asked for, so that their answers can be told from those that were not.
"""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

WORDS = ("parse", "merge", "sort", "cache", "encode", "retry", "split", "index", "score", "trim", "route", "lease")
LAST = ("response.completed", "response.incomplete", "response.failed", "error")
FEW = 24  # subjects: conversations that begin alike, as those about one project do
Json = dict[str, Any]


class Unexpected(Exception):
    """What came is not what was asked for."""


class Visitor:
    """One client. `subject` repeats, `random` decides the rest."""

    def __init__(self, http: httpx.AsyncClient, port: int, key: str, seed: int) -> None:
        self.http = http
        self.port = port
        self.key = key
        self.random = random.Random(seed)

    def text(self) -> str:
        subject = self.random.randrange(FEW)
        head = f"# project {subject}\n" + f"def {WORDS[subject % 12]}_{subject}(items): return items\n" * 12
        return f"{head}Write a function that can {self.random.choice(WORDS)} number {self.random.randrange(10**6)}."

    def body(self, **fields: Any) -> Json:
        messages = [{"role": "user", "content": self.text()}]
        return {"model": "scripted", "messages": messages, "max_tokens": self.random.randrange(4, 80), **fields}

    async def post(self, path: str, body: Any, status: int = 200, **options: Any) -> Json:
        response = await self.http.post(path, json=body, **options)
        return checked(response, status)

    async def get(self, path: str, status: int = 200) -> httpx.Response:
        response = await self.http.get(path)
        if response.status_code != status:
            raise Unexpected(f"GET {path}: {response.status_code}, not {status}: {response.text[:200]}")
        return response


def checked(response: httpx.Response, status: int) -> Json:
    """Return the JSON of a response that has the expected status; an error must say what to do instead."""
    if response.status_code != status:
        path = response.request.url.path
        raise Unexpected(f"{path}: {response.status_code}, not {status}: {response.text[:200]}")
    answer: Json = response.json()
    if status >= 400 and not answer["error"]["message"]:
        raise Unexpected(f"{response.request.url.path}: an error without words")
    return answer


async def chat(visitor: Visitor) -> None:
    """A whole answer."""
    await visitor.post("/v1/chat/completions", visitor.body(temperature=0))


async def sampled(visitor: Visitor) -> None:
    """Two sampled choices, with tools on offer."""
    await visitor.post("/v1/chat/completions", visitor.body(temperature=0.8, n=2, top_p=0.9))


async def stream(visitor: Visitor) -> None:
    """A stream read to its end."""
    async with visitor.http.stream("POST", "/v1/chat/completions", json=visitor.body(stream=True)) as response:
        lines = [line async for line in response.aiter_lines()]
    if response.status_code != 200 or "data: [DONE]" not in lines:
        raise Unexpected(f"a stream ended with {response.status_code}, {lines[-3:]}")


async def cancel(visitor: Visitor) -> None:
    """A stream whose reader leaves."""
    body = visitor.body(stream=True) | {"max_tokens": 4000}
    async with visitor.http.stream("POST", "/v1/chat/completions", json=body) as response:
        async for _ in response.aiter_bytes():
            if visitor.random.random() < 0.3:
                return


async def fill(visitor: Visitor) -> None:
    """Fill in the middle, in OpenAI's words and in llama.cpp's."""
    text = visitor.text()
    await visitor.post("/v1/completions", {"model": "scripted", "prompt": text, "suffix": "\n", "max_tokens": 20})
    await visitor.post("/infill", {"input_prefix": text, "input_suffix": "\n", "n_predict": 20})


async def schema(visitor: Visitor) -> None:
    """An answer that must follow a schema."""
    shape = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    form = {"type": "json_schema", "json_schema": {"name": "s", "schema": shape | {"additionalProperties": False}}}
    answer = await visitor.post("/v1/chat/completions", visitor.body(response_format=form) | {"max_tokens": 60})
    choice = answer["choices"][0]
    if choice["finish_reason"] == "stop":  # a number may be longer than the answer
        json.loads(choice["message"]["content"])


async def messages(visitor: Visitor) -> None:
    """Anthropic's words."""
    await visitor.post("/v1/messages", visitor.body())
    await visitor.post("/v1/messages/count_tokens", {k: v for k, v in visitor.body().items() if k != "max_tokens"})


async def conversation(visitor: Visitor) -> None:
    """Stored responses that go on from one another, and are forgotten in the end."""
    ids: list[str] = []
    for _ in range(3):
        more = {"previous_response_id": ids[-1]} if ids else {}
        body = {"model": "scripted", "input": visitor.text(), "max_output_tokens": 30, **more}
        ids.append((await visitor.post("/v1/responses", body))["id"])
    await visitor.get(f"/v1/responses/{ids[-1]}/input_items")
    for id in ids:
        checked(await visitor.http.delete(f"/v1/responses/{id}"), 200)
    await visitor.get(f"/v1/responses/{ids[0]}", 404)


async def background(visitor: Visitor) -> None:
    """A response in the background that is cancelled."""
    body = {"model": "scripted", "input": visitor.text(), "background": True, "max_output_tokens": 3000}
    id = (await visitor.post("/v1/responses", body))["id"]
    await visitor.post(f"/v1/responses/{id}/cancel", None)
    await visitor.get(f"/v1/responses/{id}")
    checked(await visitor.http.delete(f"/v1/responses/{id}"), 200)


async def steer(visitor: Visitor) -> None:
    """A WebSocket: one turn that is steered in mid-answer, then one that is interrupted."""
    headers = {"authorization": f"Bearer {visitor.key}"}
    url = f"ws://127.0.0.1:{visitor.port}/v1/responses"
    async with connect(url, additional_headers=headers, proxy=None) as socket:
        for kind in ("response.steer", "response.interrupt"):
            create = {"type": "response.create", "model": "scripted", "input": visitor.text(), "store": False}
            await socket.send(json.dumps(create | {"max_output_tokens": 400}))
            id = (await received(socket, "response.created"))["response"]["id"]
            await received(socket, "response.output_text.delta")
            await socket.send(json.dumps(_break_in(kind, id)))
            await received(socket, *LAST)


def _break_in(kind: str, id: str) -> Json:
    if kind == "response.steer":
        return {"type": kind, "previous_response_id": id, "input": "Shorter, please."}
    return {"type": kind, "response_id": id}


async def received(socket: ClientConnection, *kinds: str) -> Json:
    """Return the next event of one of `kinds`."""
    while True:
        event: Json = json.loads(await socket.recv())
        if event["type"] in kinds:
            if event["type"] in ("error", "response.failed"):
                raise Unexpected(f"the socket says {event}"[:300])
            return event


async def asked_for_errors(visitor: Visitor) -> None:
    """Errors that were asked for: each has its status, and says what to do instead."""
    chat_path = "/v1/chat/completions"
    await visitor.post(chat_path, visitor.body(temperatur=1), 400)
    await visitor.post(chat_path, visitor.body(temperature=9), 400)
    await visitor.post(chat_path, visitor.body() | {"model": "other"}, 404)
    await visitor.post(chat_path, visitor.body(), 401, headers={"authorization": "Bearer wrong"})
    checked(await visitor.http.post(chat_path, content=b"{"), 400)
    checked(await visitor.http.post(chat_path, content=b" " * 1_100_000), 413)
    await visitor.post("/v1/responses", {"model": "scripted", "input": "x", "previous_response_id": "resp_x"}, 400)
    await visitor.get("/v1/nothing", 404)


async def look(visitor: Visitor) -> None:
    """What dashboards and editors ask for."""
    for path in ("/v1/models", "/health", "/metrics", "/openapi.json", "/props", "/slots"):
        await visitor.get(path)


ACTIVITIES: dict[Callable[[Visitor], Awaitable[None]], int] = {
    chat: 4, sampled: 2, stream: 5, cancel: 3, fill: 3, schema: 1, messages: 2, conversation: 2, background: 1,
    steer: 2, asked_for_errors: 1, look: 1,
}  # fmt: skip


async def visit(visitor: Visitor) -> str:
    """Do one activity; return its name. Raises Unexpected, and httpx's errors."""
    activity = visitor.random.choices(list(ACTIVITIES), list(ACTIVITIES.values()))[0]
    async with asyncio.timeout(120):
        await activity(visitor)
    return activity.__name__
