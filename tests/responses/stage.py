"""A response on a fake engine: the test says what the engine says, and reads what the client would."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import msgspec
from openai.types.responses.responses_server_event import ResponsesServerEvent
from pydantic import TypeAdapter

from firesteel.backend.scripted.tokenizer import shared_tokenizer
from firesteel.responses.memory import MAX_CONNECTION, Recent
from firesteel.responses.service import Responses
from firesteel.responses.steering import new_steer
from firesteel.responses.turn import Turn
from firesteel.session.response_store import MEMORY, ResponseStore
from firesteel.stream.response_events import Events, WireEvent
from firesteel.types import Event, Failure, FinishReason, Progress, Work
from firesteel.visit import UNCOUNTED, Place, Visit
from firesteel.wire.openai_responses import Item, ResponsesBody
from tests.pipeline.fake_engine import FakeEngine, make_pipeline

LAST = ("response.completed", "response.incomplete", "response.failed")
ADAPTER: TypeAdapter[Any] = TypeAdapter(ResponsesServerEvent)
TOOL: Item = {
    "type": "function",
    "name": "run",
    "description": "Runs.",
    "parameters": {"type": "object", "properties": {"x": {"type": "integer"}}},
    "strict": False,
}
CALL = '<tool_call>\n{"name": "run", "arguments": {"x": 1}}\n</tool_call>'


class SteerableEngine(FakeEngine):
    """Notes what it is steered with; the new sequence is one more of its works."""

    def __init__(self) -> None:
        super().__init__()
        self.steered: list[str] = []
        self.said: dict[int, str] = {}

    def steer(self, id: str, work: Work, deliver: Callable[[Event], None]) -> None:
        self.steered.append(id)
        self.add(work, deliver)

    def say(self, text: str, number: int = 0, num_tokens: int = 1) -> None:
        self.said[number] = self.said.get(number, "") + text
        super().say(text, number, num_tokens)

    def finish(self, number: int = 0, reason: FinishReason = "stop", tokens: list[int] | None = None) -> None:
        said = shared_tokenizer().encode(self.said.get(number, ""), special=False)
        super().finish(number, reason, said if tokens is None else tokens)

    def fail(self, number: int, code: str = "engine_failure") -> None:
        self.tell(number, lambda id: Failure(id, code, "told to"))


class Recorder:
    """A `Transport` that keeps everything."""

    def __init__(self, *, is_eager: bool = True) -> None:
        self.is_eager = is_eager
        self.visit: Visit = UNCOUNTED
        self.events: list[dict[str, Any]] = []
        self.told: list[Progress | Place] = []

    async def send(self, events: list[WireEvent]) -> None:
        for kind, data in events:
            event = json.loads(data)
            assert event["type"] == kind
            self.events.append(event)

    async def progress(self, id: str, progress: Progress | Place, events: Events) -> None:
        self.told.append(progress)

    def observe(self, event: Event) -> None:
        pass

    @property
    def kinds(self) -> list[str]:
        """The types of the events, deltas once in a row, without what all of them begin with."""
        names = [event["type"].removeprefix("response.") for event in self.events]
        return [name for i, name in enumerate(names) if i == 0 or name != names[i - 1]]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]


class Stage:
    """One server's responses, without a server."""

    def __init__(self, **options: Any) -> None:
        self.engine = SteerableEngine()
        self.responses = Responses(
            make_pipeline(self.engine, **{"context_tokens": 1000, **options}), ResponseStore(MEMORY)
        )
        self.connection = Recent(MAX_CONNECTION)
        self.out = Recorder()
        self.num_finished = 0  # of the engine's works, for those who end them in their order

    async def turn(self, text: str | list[Item] = "x", **fields: Any) -> Turn:
        body = msgspec.convert({"model": "fake", "input": text, **fields}, ResponsesBody)
        return await self.responses.turn(body, self.out, request_id="r", connection=self.connection)

    async def start(self, text: str | list[Item] = "x", **fields: Any) -> "tuple[Turn, asyncio.Task[None]]":
        """Begin a turn; return when the engine has it."""
        turn = await self.turn(text, **fields)
        number = len(self.engine.works)
        task = asyncio.create_task(turn.run())
        while len(self.engine.works) == number and not task.done():
            await asyncio.sleep(0)
        await settle()
        return turn, task

    async def answer(self, text: str | list[Item] = "x", says: str = "ok", **fields: Any) -> Turn:
        """Run a whole turn in which the model says `says`."""
        number = len(self.engine.works)
        turn, task = await self.start(text, **fields)
        self.engine.say(says, number)
        self.engine.finish(number)
        await task
        return turn

    async def steer(self, turn: Turn, words: str | list[Item] = "stop") -> None:
        """Steer as the server does."""
        await turn.steer(new_steer(turn.response.id, words))

    def close(self) -> None:
        self.responses.close()
        self.responses.pipeline.close()


async def settle() -> None:
    """Let everything that can happen happen."""
    for _ in range(20):
        await asyncio.sleep(0)


def check(events: list[dict[str, Any]]) -> None:
    """Fail unless `events` are what the SDK's types say, numbered from 0, and every response has one end."""
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    open_id = None
    for event in events:
        response = event.get("response")
        if response is not None and (response["incomplete_details"] or {}).get("reason") == "interrupted":
            response = {**response, "incomplete_details": {"reason": "steered"}}  # Codex's word, not the SDK's
            event = {**event, "response": response}
        ADAPTER.validate_python(event)
        if event["type"] == "response.created":
            assert open_id is None
            assert response is not None
            open_id = response["id"]
        elif response is not None:
            assert response["id"] == open_id
            open_id = None if event["type"] in LAST else open_id
    assert open_id is None
