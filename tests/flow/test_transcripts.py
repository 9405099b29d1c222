"""Golden transcripts: request JSON and engine events in, exactly these bytes out.

A case is a folder in `cases/`: `request.json`, `events.json` (choice and event), and what a client receives:
`response.sse`, or `response.json` when the request does not stream.
"""

import json
from pathlib import Path
from typing import Any

import msgspec
import openai.types as sdk
import openai.types.chat as chat_sdk
import pytest
from anthropic.types.beta import BetaMessage, BetaRawMessageStreamEvent
from pydantic import TypeAdapter

from firesteel.request import anthropic, infill, openai_chat, openai_completions
from firesteel.request.render import tokens_of
from firesteel.stream.openai import collector_of, stream_of
from firesteel.stream.sse import SSEDecoder, SSEMessage
from firesteel.types import Event, FimTokens, Request, Sampling

CASES = sorted(path.parent for path in (Path(__file__).parent / "cases").glob("*/request.json"))
CREATED = 1_700_000_000
PARSERS = {
    "chat": openai_chat.parse,
    "completions": openai_completions.parse,
    "messages": anthropic.parse,
    "infill": infill.parse,
}
SDK_TYPES: dict[tuple[str, bool], Any] = {
    ("chat", True): chat_sdk.ChatCompletionChunk,
    ("chat", False): chat_sdk.ChatCompletion,
    ("completion", True): sdk.Completion,
    ("completion", False): sdk.Completion,
    ("messages", True): BetaRawMessageStreamEvent,
    ("messages", False): BetaMessage,
}


class Letters:
    """A tokenizer whose tokens are the bytes, so that transcripts can be written by hand."""

    vocabulary_size = 256
    end_tokens: frozenset[int] = frozenset()
    fim: FimTokens | None = FimTokens(1, 2, 3)
    chat_template: str | None = None

    def encode(self, text: str, *, special: bool) -> list[int]:
        return list(text.encode())

    def prompt_prefix(self) -> list[int]:
        return []

    def piece(self, token: int) -> bytes:
        return bytes([token])

    def label(self, token: int) -> str:
        return chr(token) if token < 128 else f"<0x{token:02X}>"


def request_of(case: Path) -> Request:
    body = (case / "request.json").read_bytes()
    parse = PARSERS[case.name.partition("_")[0]]
    return parse(body, request_id="1", defaults=Sampling())


def events_of(case: Path) -> list[tuple[int, Event]]:
    return msgspec.json.decode((case / "events.json").read_bytes(), type=list[tuple[int, Event]])


def answer(case: Path) -> bytes:
    """Return what a client receives."""
    request, events, tokenizer = request_of(case), events_of(case), Letters()
    assert tokens_of(request.prompts[0], tokenizer)
    if request.stream:
        stream = stream_of(request, created=CREATED, model="tiny", tokenizer=tokenizer)
        return stream.begin() + b"".join([stream.event(*event) for event in events]) + stream.end()
    collector = collector_of(request, created=CREATED, model="tiny", tokenizer=tokenizer)
    for event in events:
        collector.event(*event)
    return collector.body()


def expected(case: Path) -> bytes:
    if (case / "response.sse").exists():
        return (case / "response.sse").read_bytes()
    return (case / "response.json").read_bytes().removesuffix(b"\n")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_transcript(case: Path) -> None:
    assert answer(case).decode() == expected(case).decode()


WITH_SDK = [case for case in CASES if not case.name.startswith("infill")]


@pytest.mark.parametrize("case", WITH_SDK, ids=lambda case: case.name)
def test_the_official_sdk_accepts_every_object(case: Path) -> None:
    request = request_of(case)
    texts = [expected(case).decode()]
    if request.stream:
        items = SSEDecoder().feed(expected(case))
        texts = [item.data for item in items if isinstance(item, SSEMessage) and item.data != "[DONE]"]
    for text in texts:
        value = json.loads(text)
        if "error" in value:
            assert set(value["error"]) == {"message", "type", "param", "code"}
        else:
            if request.kind == "completion":  # the SDK's type wants a reason, the API sends null until the end
                for choice in value["choices"]:
                    choice["finish_reason"] = choice["finish_reason"] or "stop"
            TypeAdapter(SDK_TYPES[request.kind, request.stream]).validate_python(value, strict=True)


def test_there_are_cases_of_every_endpoint() -> None:
    assert {case.name.split("_")[0] for case in CASES} == set(PARSERS)
