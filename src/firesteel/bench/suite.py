"""Suites: the fixed requests of `edits`, `fresh`, `agent` and `json`, each a JSON file beside the texts that it quotes.

A suite is a list of talks, a talk a list of turns. Each turn is asked as a request of its own: what was answered
in the turns before is fixed in the file, so that every server gets the same bytes whatever it says itself.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from firesteel.bench import workload

QUOTE = re.compile(r"<<([\w.-]+)>>")  # stands for the text of a file beside the suite

Schema = dict[str, Any]
Message = dict[str, str]


class Turn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the user says, line by line, and what was answered where the talk goes on."""

    user: list[str]
    answer: list[str] = []


class Talk(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A conversation. `prediction` names the file that its answers are expected to repeat; `schema` their schema."""

    name: str
    turns: list[Turn]
    origin: str = ""
    prediction: str = ""
    schema: str = ""


class Suite(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file. `max_tokens` holds for each answer."""

    name: str
    max_tokens: int
    talks: list[Talk]
    schemas: dict[str, Schema] = {}


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One request. `group`: tasks whose figures belong together; `prediction` and `schema` may be missing."""

    name: str
    group: str
    messages: list[Message]
    max_tokens: int
    prediction: str = ""
    schema: Schema | None = None

    def body(self, model: str, *, says_prediction: bool) -> dict[str, Any]:
        """Return the greedy request to the model that is served as `model`."""
        body = self.opening(model) | {"max_tokens": self.max_tokens}
        if self.prediction and says_prediction:
            body["prediction"] = {"type": "content", "content": self.prediction}
        if self.schema is not None:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": self.group, "schema": self.schema, "strict": True},
            }
        return body

    def opening(self, model: str) -> dict[str, Any]:
        """Return the request for one token of the same prompt, with nothing that could make it more or less."""
        return {"model": model, "messages": self.messages, "max_tokens": 1, "temperature": 0}


WARM_UP = Task(
    name="warm-up",
    group="warm-up",
    messages=[{"role": "user", "content": "Count from one to thirty in words."}],
    max_tokens=48,
)


def tasks(kind: str, max_tokens: int | None = None) -> list[Task]:
    """Return the requests of a suite; `max_tokens` replaces the file's own."""
    suite = msgspec.json.decode(workload.read(f"{kind}.json"), type=Suite)
    return [task for talk in suite.talks for task in _tasks(suite, talk, max_tokens or suite.max_tokens)]


def title(kind: str) -> str:
    """Return what a suite calls itself."""
    return msgspec.json.decode(workload.read(f"{kind}.json"), type=Suite).name


def _tasks(suite: Suite, talk: Talk, max_tokens: int) -> Iterator[Task]:
    """Yield a talk's requests."""
    messages: list[Message] = []
    for number, turn in enumerate(talk.turns, 1):
        messages = [*messages, {"role": "user", "content": text(turn.user)}]
        yield Task(
            name=talk.name if len(talk.turns) == 1 else f"{talk.name} {number}",
            group=talk.schema or talk.name,
            messages=messages,
            max_tokens=max_tokens,
            prediction=workload.read(talk.prediction) if talk.prediction else "",
            schema=suite.schemas[talk.schema] if talk.schema else None,
        )
        messages = [*messages, {"role": "assistant", "content": text(turn.answer)}]


def text(lines: list[str]) -> str:
    """Return lines as one text, with the files in the place of their names."""
    return QUOTE.sub(lambda match: workload.read(match[1]).rstrip("\n"), "\n".join(lines))
