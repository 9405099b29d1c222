"""An engine without a model: it notes what it is asked and says what the test makes it say."""

import json
from collections.abc import Callable
from typing import Any

from firesteel.backend.scripted import ScriptedTokenizer
from firesteel.backend.scripted.tokenizer import CHAT_TEMPLATE
from firesteel.clock import ManualClock
from firesteel.pipeline import Pipeline
from firesteel.router.admission import Admission
from firesteel.types import Delta, Event, Finish, FinishReason, ModelInfo, Usage, Work

USAGE = Usage(num_prompt_tokens=5, num_cached_tokens=2, num_output_tokens=3)
INFO = ModelInfo(name="fake", architecture="fake", context_length=100, chat_template=CHAT_TEMPLATE)
CONTEXT_TOKENS = 100


class FakeEngine:
    """An `EngineClient`."""

    def __init__(self) -> None:
        self.works: list[Work] = []
        self.cancelled: list[str] = []
        self._delivers: dict[str, Callable[[Event], None]] = {}

    def add(self, work: Work, deliver: Callable[[Event], None]) -> None:
        assert work.id not in self._delivers
        self.works.append(work)
        self._delivers[work.id] = deliver

    def cancel(self, id: str) -> None:
        self.cancelled.append(id)

    def steer(self, id: str, work: Work, deliver: Callable[[Event], None]) -> None:
        raise AssertionError("nothing steers over HTTP yet")

    def rewind(self, id: str, to_token: int, ban: tuple[int, ...] = (), hint: tuple[int, ...] = ()) -> None:
        raise AssertionError("nothing rewinds over HTTP yet")

    def tell(self, number: int, event: Callable[[str], Event]) -> None:
        """Emit an event of the sequence that was added as number `number`."""
        id = self.works[number].id
        self._delivers[id](event(id))

    def say(self, text: str, number: int = 0, num_tokens: int = 1) -> None:
        self.tell(number, lambda id: Delta(id, text, num_tokens))

    def finish(self, number: int = 0, reason: FinishReason = "stop", tokens: list[int] | None = None) -> None:
        self.tell(number, lambda id: Finish(id, reason, USAGE, tokens or []))


def make_pipeline(engine: FakeEngine, max_live: int = 4, max_queue: int = 0, **options: Any) -> Pipeline:
    admission = Admission(max_live, max_queue, ManualClock().now)
    defaults = {"model_id": "fake", "context_tokens": CONTEXT_TOKENS}
    return Pipeline(engine, ScriptedTokenizer(), INFO, admission, **{**defaults, **options})


def completion(prompt: object = "x", **fields: Any) -> bytes:
    return json.dumps({"model": "fake", "prompt": prompt, **fields}).encode()


def chat(text: str = "x", **fields: Any) -> bytes:
    return json.dumps({"model": "fake", "messages": [{"role": "user", "content": text}], **fields}).encode()
